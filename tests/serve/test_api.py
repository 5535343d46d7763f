"""The HTTP API over the tiny model: answers, streams, rows, follow-ups, states, and what OpenAI's client gets."""

import csv
import io
import json

import httpx
import openai
import pytest

from text2sql.generate import Decoding, Request
from text2sql.prompts import build_messages
from text2sql.serve.question import Question, Turn

COUNT = {"question": "how many keepers are there", "database": "zoo"}


def test_an_answer_has_sql_and_rows(client: httpx.Client) -> None:
    answer = client.post("/v1/text2sql", json={**COUNT, "execute": True}).json()
    assert answer["sql"].lower() == "select count(*) from keepers"
    assert answer["result"]["columns"] == ["count(*)"]
    ((count,),) = answer["result"]["rows"]
    assert count == client.post("/v1/sql", json={"database": "zoo", "sql": answer["sql"]}).json()["rows"][0][0] == 24
    assert answer["usage"]["completion_tokens"] > 3
    assert (answer["share"], answer["alternatives"], answer["execution_error"]) == (None, [], None)
    assert client.post("/v1/text2sql", json=COUNT).json()["result"] is None, "nothing runs unasked"


def test_the_prompt_is_that_of_inference(client, options, engine) -> None:
    from text2sql.repair import database_schema
    from text2sql.schema import render_ddl
    from text2sql.serve.answer import Answerer
    from text2sql.serve.databases import Databases

    with Databases(options) as databases, Answerer(options, databases, engine) as answerer:
        messages = answerer.messages(Question("how many keepers are there", "zoo"))
        later = answerer.messages(Question("of which species", "zoo", history=(Turn("list animals", "SELECT 1;"),)))
    assert messages == build_messages(
        "how many keepers are there", render_ddl(database_schema(options.databases["zoo"]))
    )
    assert [m["role"] for m in later] == ["system", "user", "assistant", "user"]
    assert later[1]["content"].endswith("[QUESTION]\nlist animals")
    assert (later[2]["content"], later[3]["content"]) == ("SELECT 1", "[QUESTION]\nof which species")


def test_solved_examples_come_with_the_request_or_from_the_index(options, engine) -> None:
    from dataclasses import replace

    from text2sql.prompts import reference_list
    from text2sql.records import Reference
    from text2sql.serve.answer import Answerer
    from text2sql.serve.databases import Databases

    known, brought = Reference("How many lions?", "SELECT 2"), Turn("How many tigers?", "SELECT 3")

    class Index:
        def references(self, examples):
            return [replace(example, references=(known,)) for example in examples if example.db_id == "zoo"]

    with Databases(options) as databases, Answerer(options, databases, engine, Index()) as answerer:
        found = answerer.messages(Question("how many keepers", "zoo"))
        given = answerer.messages(Question("how many keepers", "zoo", references=(brought,)))
    assert found[0]["content"].endswith(reference_list([known]))
    assert given[0]["content"].endswith(reference_list([Reference("How many tigers?", "SELECT 3")]))


def test_streamed_pieces_make_the_answer(client: httpx.Client) -> None:
    body = {**COUNT, "stream": True, "execute": True, "format": "csv"}
    with client.stream("POST", "/v1/text2sql", json=body) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        events = [event.split("\n") for event in "".join(reply.iter_text()).strip().split("\n\n")]
    names = [event[0] for event in events]
    assert len(names) > 3 and set(names[:-1]) == {"event: delta"} and names[-1] == "event: result"
    told = [json.loads(event[1].removeprefix("data: ")) for event in events]
    assert "".join(piece["text"] for piece in told[:-1]) == told[-1]["sql"]
    assert next(iter(csv.reader(io.StringIO(told[-1]["result"]["csv"])))) == ["count(*)"]


def test_streaming_equals_batch(engine) -> None:
    messages = build_messages(
        "show the name of keepers where pay grade above 3", "CREATE TABLE keepers (name TEXT, pay_grade INTEGER);"
    )
    request, decoding, pieces = Request("q", messages), Decoding(max_new_tokens=40), []
    steps = engine.stream(request, decoding)
    try:
        while True:
            pieces.append(next(steps))
    except StopIteration as end:
        assert end.value.text == "".join(pieces)
        assert [end.value] == list(engine.generate([request], decoding))


def test_samples_vote(client: httpx.Client) -> None:
    asked = {"question": "show the pet name of animals where weight kg above 300", "database": "zoo", "n": 8}
    answer = client.post("/v1/text2sql", json=asked).json()
    shares = [answer["share"], *(other["share"] for other in answer["alternatives"])]
    assert sum(shares) == pytest.approx(1, abs=0.01)
    assert all(0 < share <= 1 for share in shares)
    assert answer["sql"] not in [other["sql"] for other in answer["alternatives"]]


def test_a_schema_in_the_request(client: httpx.Client) -> None:
    schema = "CREATE TABLE singer (id INTEGER PRIMARY KEY, name TEXT, age INTEGER);"
    answer = client.post(
        "/v1/text2sql", json={"question": "how many singers are there", "schema": schema, "n": 2}
    ).json()
    assert "singer" in answer["sql"]
    both = client.post("/v1/text2sql", json={**COUNT, "schema": schema})
    assert both.status_code == 422 and "not both" in both.text


def test_repairs_are_told(client: httpx.Client) -> None:
    asked = {"question": "how many animals are there where species is Lion", "database": "zoo", "execute": True}
    answer = client.post("/v1/text2sql", json=asked).json()
    if answer["raw"] is None:
        pytest.skip("the model wrote the stored spelling by itself")
    assert answer["repairs"] and answer["raw"] != answer["sql"]


def test_databases_and_state(client: httpx.Client) -> None:
    names = {row["name"]: row for row in client.get("/v1/databases").json()["databases"]}
    animals = next(table for table in names["zoo"]["tables"] if table["name"] == "animals")
    assert {"name": "keeper_id", "type": "INTEGER", "primary_key": False, "references": "keepers.keeper_id"} in animals[
        "columns"
    ]
    assert names["zoo"]["questions"] == ["how many keepers are there"]
    assert client.get("/v1/databases/zoo").json() == names["zoo"]
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready", "engine": "transformers"}
    metrics = client.get("/metrics").text
    assert (
        'text2sql_requests_total{route="/v1/databases",status="200"}' in metrics and "text2sql_tokens_total" in metrics
    )


def test_rows_are_cut_at_the_limit(serving) -> None:
    from text2sql.serve.options import Limits

    with serving(limits=Limits(rows=3)) as client:
        found = client.post(
            "/v1/sql", json={"database": "zoo", "sql": "SELECT animal_id FROM animals ORDER BY 1"}
        ).json()
        assert (found["rows"], found["truncated"]) == ([[1], [2], [3]], True)
        exact = client.post("/v1/sql", json={"database": "zoo", "sql": "VALUES (1), (2), (3)"}).json()
        assert (len(exact["rows"]), exact["truncated"]) == (3, False)


def test_odd_cells(client: httpx.Client) -> None:
    sql = "SELECT NULL AS n, 9e999 AS i, x'00ff' AS b, char(55296) AS s, 'a,\"b' AS t"
    found = client.post("/v1/sql", json={"database": "zoo", "sql": sql}).json()
    assert found["rows"][0][:3] == [None, "inf", "x'00ff'"]
    text = client.post("/v1/sql", json={"database": "zoo", "sql": sql, "format": "csv"})
    assert text.headers["content-type"].startswith("text/csv")
    assert list(csv.reader(io.StringIO(text.text)))[1][4] == 'a,"b'


def test_openais_client_uses_it_unchanged(client: httpx.Client) -> None:
    with openai.OpenAI(base_url=f"{client.base_url}/v1", api_key="none") as talks:
        assert {model.id for model in talks.models.list()} == {"odd", "zoo"}
        chat = [{"role": "system", "content": "You write SQL."}, {"role": "user", "content": COUNT["question"]}]
        whole = talks.chat.completions.create(model="zoo", messages=chat, temperature=0.2, max_tokens=100)
        assert whole.choices[0].message.content.lower() == "select count(*) from keepers"
        assert whole.usage.total_tokens > whole.usage.prompt_tokens > 50
        chunks = list(talks.chat.completions.create(model="zoo", messages=chat, stream=True))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
        with pytest.raises(openai.NotFoundError, match="there are odd, zoo"):
            talks.chat.completions.create(model="none", messages=chat)


def test_our_own_engine_can_ask_it(client: httpx.Client) -> None:
    from text2sql.generate import EngineSettings, open_engine

    settings = EngineSettings("zoo", engine="openai", base_urls=(f"{client.base_url}/v1",))
    with open_engine(settings, 30) as engine:
        (found,) = engine.generate(
            [Request("a", [{"role": "user", "content": "how many keepers are there"}])], Decoding()
        )
        assert found.text.lower() == "select count(*) from keepers"
        assert engine.alive()
