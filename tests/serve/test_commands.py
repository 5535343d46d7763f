"""``text2sql ask`` and ``text2sql mcp``, and what ``text2sql serve`` says when it cannot start."""

import json
import socket
from dataclasses import asdict
from pathlib import Path

import anyio
import pytest
from mcp import Client

from text2sql.errors import UserError
from text2sql.recipe import load_recipe, options_from
from text2sql.serve import terminal
from text2sql.serve.__main__ import _listening
from text2sql.serve.answer import Answerer
from text2sql.serve.databases import Databases
from text2sql.serve.mcp import create_server
from text2sql.serve.options import ServeOptions

ROOT = Path(__file__).parents[2]


@pytest.fixture
def answerer(options, engine):
    with Databases(options) as databases, Answerer(options, databases, engine) as found:
        yield found


def test_a_session_follows_up(options, engine, files, capsys, monkeypatch) -> None:
    monkeypatch.setattr(terminal, "NAME", "zoo")
    with Databases(options) as databases, Answerer(options, databases, engine) as answerer:
        session = terminal.Session(answerer, 1)
        session.take("how many keepers are there\n")
        assert len(session.turns) == 1
        session.take("x" * 5000)
        session.take("/schema")
        session.take("/new")
    said = capsys.readouterr().out
    assert "SELECT count(*) FROM keepers" in said and "24" in said and "1 row" in said
    assert "error: a question has at most 4000 characters" in said and "CREATE TABLE animals" in said
    assert session.turns == []


def test_assistants_use_the_tools(answerer) -> None:
    async def talk() -> None:
        async with Client(create_server(answerer)) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert set(tools) == {"list_databases", "get_schema", "ask", "run_sql"}
            assert all(tool.annotations.read_only_hint for tool in tools.values())
            names = await client.call_tool("list_databases", {})
            assert names.structured_content == {"result": ["odd", "zoo"]}
            schema = await client.call_tool("get_schema", {"database": "zoo"})
            assert "CREATE TABLE animals" in schema.content[0].text
            asked = await client.call_tool("ask", {"database": "zoo", "question": "how many keepers are there"})
            assert asked.structured_content["result"]["rows"][0][0] == 24
            rows = await client.call_tool("run_sql", {"database": "zoo", "sql": "SELECT 1 AS one"})
            assert json.loads(rows.content[0].text)["rows"] == [[1]]
            for name, given, words in (
                ("run_sql", {"database": "zoo", "sql": "DROP TABLE animals"}, "sql_forbidden"),
                ("run_sql", {"database": "../zoo", "sql": "SELECT 1"}, "unknown_database"),
                ("ask", {"database": "zoo", "question": " "}, "empty_question"),
            ):
                failed = await client.call_tool(name, given)
                assert failed.is_error and words in failed.content[0].text

    anyio.run(talk)


def test_a_port_in_use_is_one_line(options) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} is in use"):
            _listening(options_from(ServeOptions, {"model_name_or_path": "m", "port": port}, "r"))


@pytest.mark.parametrize("profile", ["tiny", "qwen3_1p7b"])
def test_every_key_of_the_recipes_arrives(profile: str) -> None:
    recipe = load_recipe(ROOT / f"recipes/{profile}/serve.yaml", [])
    options = asdict(options_from(ServeOptions, recipe, profile))
    for key, value in recipe.items():
        found = options[key] if key != "limits" else {name: options[key][name] for name in value}
        assert (str(found) if isinstance(found, Path) else found) == value, key


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"host": "0.0.0.0"}, "give a file of keys"),
        ({"databases": {}}, "no database to ask"),
        ({"databases": {"../x": "a.sqlite"}}, "a.sqlite: no such database file|a name has letters"),
        ({"databases": {"x": "none.sqlite"}}, "none.sqlite: no such database file"),
        ({"databases": {}, "database_root": "none"}, "none: no such folder"),
        ({"limits": {"row": 3}}, "unknown key 'limits.row'; did you mean 'rows'"),
        ({"port": 99999}, "port should"),
    ],
)
def test_mistakes_in_a_recipe_are_one_line(keys, words, files) -> None:
    given = {"model_name_or_path": "m", "databases": {name: str(path) for name, path in files.items()}, **keys}
    with pytest.raises(UserError, match=words), Databases(options_from(ServeOptions, given, "serve.yaml")):
        pass
