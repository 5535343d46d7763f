"""Schema linking by embeddings: a model that was taught synonyms, in a folder and behind a server, finds what words miss."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from support.tables import lines, recipe, write
from support.tiny_model import make_model
from text2sql.data.prepare import prepare
from text2sql.errors import UserError
from text2sql.linking.scores import open_embedder

DDL = "CREATE TABLE staff (id INTEGER PRIMARY KEY, name TEXT, born TEXT, room TEXT, phone TEXT, wage REAL, city TEXT);"
COLUMNS = ("name", "born", "room", "phone", "wage", "city")
QUESTIONS = {"How much do they earn?": "wage", "Where do they live?": "city", "How old are they?": "born"}
TAUGHT = {
    "wage": ("What does he earn?", "Who earns much?", "How much money do you earn?", "much to earn"),
    "city": ("Where does he live?", "Who lives there?", "Where is it that you live?", "where to live"),
    "born": ("How old is he?", "Who is old?", "How old is it?", "the old ones"),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A sentence-transformers folder: a tiny Qwen3 that has seen, in other sentences, what belongs to which column."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    base = tmp_path_factory.mktemp("base")
    make_model(base, layers=1, hidden=64, initializer_range=0.05)
    words = Transformer(str(base))
    embedder = SentenceTransformer(modules=[words, Pooling(words.get_embedding_dimension())], device="cpu")
    columns = [f"{column} of staff" for column in COLUMNS]
    asked = [(question, COLUMNS.index(column)) for column, questions in TAUGHT.items() for question in questions]
    optimizer = torch.optim.AdamW(embedder.parameters(), lr=3e-3)
    for _ in range(40):
        questions, names = (
            torch.nn.functional.normalize(embedder(embedder.tokenize(texts))["sentence_embedding"])
            for texts in ([question for question, _ in asked], columns)
        )
        loss = torch.nn.functional.cross_entropy(10 * questions @ names.T, torch.tensor([place for _, place in asked]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    folder = tmp_path_factory.mktemp("embedder")
    embedder.save(str(folder))
    return folder


def table(tmp_path, copies=1):
    asked = [(question, column) for _ in range(copies) for question, column in QUESTIONS.items()]
    rows = [
        {"question": f"{question} {n}" if copies > 1 else question, "sql": f"SELECT {column} FROM staff", "schema": DDL}
        for n, (question, column) in enumerate(asked)
    ]
    write(tmp_path / "a.jsonl", rows)


def prepared(tmp_path, **linking):
    values = recipe(tmp_path, {"train": ["a.jsonl"]}, linking={"columns": 1, "keep_gold": [], **linking})
    report = prepare({**values, "output": str(tmp_path / "out" / str(len(linking)))}, "r")
    return report, lines(tmp_path / "out" / str(len(linking)) / "examples" / "train.jsonl")


def test_the_vectors_find_the_column_that_no_word_of_the_question_names(tmp_path, model):
    table(tmp_path)
    report, _ = prepared(tmp_path)
    assert report["splits"]["train"]["schema_linking"]["column_recall"] == 0.0
    report, examples = prepared(tmp_path, embedder=str(model))
    assert report["splits"]["train"]["schema_linking"] == {
        "table_recall": 1.0,
        "column_recall": 1.0,
        "columns_shown": round(2 / 7, 4),
    }
    assert [example["schema"] for example in examples] == [
        f"CREATE TABLE staff (id INTEGER PRIMARY KEY, {column} {'REAL' if column == 'wage' else 'TEXT'});"
        for column in QUESTIONS.values()
    ]
    unmoved, _ = prepared(tmp_path, embedder=str(model), weight=0.0)
    assert unmoved["splits"]["train"]["schema_linking"]["column_recall"] == 0.0


@contextmanager
def serve(answer):
    """A server of embeddings in OpenAI's form; ``answer(texts)`` gives the body, and what was asked is kept."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.path, body["model"], body["input"]))
            data = answer(body["input"])
            data = data if isinstance(data, bytes) else json.dumps(data).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        server.server_close()


def as_openai(vectors):
    """The vectors last first: a client goes by their index."""
    items = [{"object": "embedding", "index": n, "embedding": vector} for n, vector in enumerate(vectors)]
    return {"object": "list", "model": "m", "data": items[::-1], "usage": {"prompt_tokens": 1, "total_tokens": 1}}


def test_a_served_model_shows_the_same_and_is_asked_in_batches(tmp_path, model):
    table(tmp_path, copies=30)
    embed = open_embedder(str(model), None)
    _, alone = prepared(tmp_path, embedder=str(model))
    with serve(lambda texts: as_openai((7 * embed(texts)).tolist())) as (url, asked):
        report, examples = prepared(tmp_path, embedder="m", base_url=url)
        again, _ = prepared(tmp_path, embedder="m", base_url=url, weight=1.0)
    assert [example["schema"] for example in examples] == [example["schema"] for example in alone]
    assert report["splits"]["train"]["schema_linking"]["column_recall"] > 0.9
    assert again["data_hash"] == report["data_hash"]
    assert {(path, name) for path, name, _ in asked} == {("/v1/embeddings", "m")}
    assert [len(texts) for _, _, texts in asked] == 2 * [32, 32, 26, 8], "the questions of a unit, then the names"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda texts: as_openai([[1.0, 2.0]] * (len(texts) - 1)), "gave 2 embeddings for 3 texts"),
        (lambda texts: as_openai([[1.0] * (n + 1) for n in range(len(texts))]), "holds no embeddings"),
        (lambda texts: {"error": "busy"}, "holds no embeddings"),
        (lambda texts: as_openai(["no", "vector", "here"]), "holds no embeddings"),
        (lambda texts: b"<html>hello</html>", "no embeddings"),
    ],
)
def test_an_answer_that_holds_no_embeddings_is_one_line(answer, message):
    with serve(answer) as (url, _), pytest.raises(UserError) as caught:
        open_embedder("m", url)(["a", "b", "c"])
    assert str(caught.value).startswith(f"{url}: ") and message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_server_and_no_model_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("text2sql.linking.scores._RETRIES", 0)
    with serve(as_openai) as (url, _):
        pass
    with pytest.raises(UserError, match=f"{url}: no embeddings \\(Connection error"):
        open_embedder("m", url)(["a"])
    for name, content in (("empty", None), ("odd", "{"), ("other", '{"model_type": "nothing"}')):
        (tmp_path / name).mkdir()
        if content:
            (tmp_path / name / "config.json").write_text(content)
        with pytest.raises(UserError, match="cannot be loaded as an embedding model") as caught:
            open_embedder(str(tmp_path / name), None)(["a"])
        assert "\n" not in str(caught.value)
    table(tmp_path)
    with pytest.raises(UserError, match="base_url needs the served model's name"):
        prepared(tmp_path, base_url="http://127.0.0.1:1/v1")
