"""What a served model writes, schemas for descriptions and paraphrases, is kept only when checked, and a cut-off run goes on."""

import json
import re
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from text2sql.data.databases import read_described
from text2sql.data.describe import DescribeOptions, check_tables, describe, tables_in
from text2sql.data.prepare import prepare
from text2sql.errors import UserError
from text2sql.generate import EngineSettings
from text2sql.records import Example, TracedExample, read_jsonl
from text2sql.synth.paraphrase import paraphrase


@pytest.fixture
def serve():
    """Starts HTTP servers in OpenAI's form that answer by a function of the messages."""
    servers = []

    def start(answer):
        asked = []

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def reply(self, body):
                data = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self):
                self.reply({"object": "list", "data": [{"id": "m", "object": "model", "created": 0, "owned_by": "me"}]})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                asked.append(body["messages"])
                message = {"role": "assistant", "content": answer(body["messages"])}
                choice = {"index": 0, "finish_reason": "stop", "message": message}
                self.reply({"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]})

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/v1", asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


GOOD = "CREATE TABLE singer (id INT PRIMARY KEY, name TEXT, age INT);"


def source(tmp_path, texts):
    rows = [
        {"instruction": text, "input": f"Which names, {n}?", "output": "SELECT name FROM singer WHERE age > 3"}
        for n, text in enumerate(texts)
    ]
    (tmp_path / "in.json").write_text(json.dumps(rows))
    return tmp_path / "in.json"


def test_descriptions_become_tables_that_run_the_gold(tmp_path, serve):
    def answer(messages):
        if "hopeless" in messages[1]["content"]:
            return "I cannot."
        if len(messages) == 2 and "twice" in messages[1]["content"]:
            return "```sql\nCREATE TABLE singer (id INT, name TEXT);\n```"
        return f"<think>easy</think>```sql\n{GOOD}\n```"

    url, asked = serve(answer)
    texts = ["A table singer with id, name and age.", "needs it twice", "hopeless", "needs it twice"]
    options = DescribeOptions(input=source(tmp_path, texts), output=tmp_path / "out.jsonl", base_urls=[url])
    assert describe(options) == (2, 3)
    assert read_described(options.output) == {texts[0]: GOOD, texts[1]: GOOD, "hopeless": ""}
    rows = {row["description"]: row for row in map(json.loads, options.output.read_text().splitlines())}
    assert [rows[text]["rounds"] for text in texts[:3]] == [1, 2, 3]
    again = next(messages for messages in asked if len(messages) == 4 and "twice" in messages[1]["content"])
    assert "no such column: age" in again[3]["content"]
    assert len(asked) == 1 + 2 + 3
    settled = len(asked)
    assert describe(options) == (2, 3)
    assert len(asked) == settled, "what is settled is not asked again"
    recipe = {
        "source": "alpaca",
        "name": "a",
        "output": str(tmp_path / "o"),
        "folder": str(tmp_path),
        "files": {"train": ["in.json"]},
    }
    report = prepare({**recipe, "described": str(options.output)}, "r")
    assert report["splits"]["train"]["rejected"] == {"schema cannot be built": 1}
    assert {e.schema for e in read_jsonl(tmp_path / "o" / "examples" / "train.jsonl", Example)} == {GOOD}


def test_a_cut_off_output_goes_on_and_a_damaged_one_is_refused(tmp_path, serve):
    url, asked = serve(lambda _: GOOD)
    out = tmp_path / "out.jsonl"
    out.write_text(json.dumps({"description": "one", "ddl": GOOD}) + '\n{"description": "tw')
    options = DescribeOptions(input=source(tmp_path, ["one", "two"]), output=out, base_urls=[url])
    assert describe(options) == (2, 2)
    assert len(asked) == 1
    out.write_text("no JSON\n" + out.read_text())
    with pytest.raises(UserError, match=r"out.jsonl:1: not a described schema"):
        describe(options)


def test_tables_are_found_and_checked():
    assert (
        tables_in("Here:\n```sql\nCREATE TABLE a (x);\n```\nand\n```\nCREATE TABLE b (y);\n```")
        == "CREATE TABLE a (x);\nCREATE TABLE b (y);"
    )
    assert tables_in("<sql>CREATE TABLE a (x)</sql>") == "CREATE TABLE a (x)"
    assert check_tables("CREATE TABLE a (x)", ["SELECT x FROM a"]) == ""
    assert "no such column: y" in check_tables("CREATE TABLE a (x)", ["SELECT y FROM a"])
    assert check_tables("CREATE TABLE a (x)", ["SELECT x FROM a", "SELECT y FROM a"], share=0.5) == ""
    assert "SQLite says" in check_tables("sorry", [])


@pytest.fixture
def music(tmp_path):
    path = tmp_path / "music.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(GOOD + "INSERT INTO singer VALUES (1, 'Ann', 30), (2, 'Bo', 40);")
    connection.close()
    return path


def test_paraphrases_are_kept_when_their_sql_gives_the_same(tmp_path, music, serve):
    def answer(messages):
        text = messages[-1]["content"]
        if "[SCHEMA]" not in text:
            return text if "Keep" in text else "Please say: " + text
        age = re.search(r"over (\d+)", text)[1]
        return f"SELECT name FROM singer WHERE age > {age if age != '39' else '1'}"

    url, asked = serve(answer)
    examples = [
        TracedExample(
            str(n), "music", f"Who is over {n}{'. Keep' * (n == 33)}?", GOOD, f"SELECT name FROM singer WHERE age > {n}"
        )
        for n in (31, 33, 35, 39)
    ]
    settings = EngineSettings("", engine="openai", base_urls=(url,))
    journal = tmp_path / "journal.jsonl"
    judged = paraphrase(examples, music, settings, journal)
    assert [reason for _, reason in judged] == ["", "unchanged", "", "its SQL gives another result"]
    assert judged[0][0].question == "Please say: Who is over 31?"
    count = len(asked)
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:3]) + lines[3][:10])
    assert paraphrase(examples, music, settings, journal) == judged
    assert len(asked) == count + 2
