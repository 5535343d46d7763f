"""Requests and responses of the HTTP API; the OpenAPI document is made of them."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from text2sql.schema import Schema
from text2sql.serve.databases import Cell, Result
from text2sql.serve.question import Answer, Question, Turn

MOST_TURNS = 20


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TurnIn(_Wire):
    """A question with its SQL."""

    question: str
    sql: str

    def turn(self) -> Turn:
        return Turn(self.question, self.sql)


_ASK: dict[str, Any] = {
    "question": "how many keepers are there",
    "database": "zoo_animals",
    "execute": True,
}
_FOLLOW_UP: dict[str, Any] = {
    "question": "show the name of those where pay grade above 3",
    "database": "zoo_animals",
    "history": [{"question": "how many keepers are there", "sql": "SELECT count(*) FROM keepers"}],
}
_SCHEMA: dict[str, Any] = {
    "question": "name of the oldest singer",
    "schema": "CREATE TABLE singer (id INTEGER PRIMARY KEY, name TEXT, age INTEGER);",
}


class AskIn(_Wire):
    """A question about a registered database, or about a schema given as CREATE TABLE text."""

    model_config = ConfigDict(
        extra="forbid", populate_by_name=True, json_schema_extra={"examples": [_ASK, _FOLLOW_UP, _SCHEMA]}
    )

    question: str = Field(description="In English or Chinese.")
    database: str | None = Field(None, description="A name of /v1/databases.")
    ddl: str | None = Field(None, alias="schema", description="CREATE TABLE text, where no database is named.")
    evidence: str = Field("", description="Outside knowledge that the question relies on.")
    n: int = Field(1, ge=1, le=64, description="Samples that vote; 1 is one greedy answer.")
    execute: bool = Field(False, description="Run the SQL, read-only, and return its rows.")
    format: Literal["json", "csv"] = Field("json", description="Form of the rows.")
    references: list[TurnIn] = Field([], max_length=MOST_TURNS, description="Questions like this one, with their SQL.")
    history: list[TurnIn] = Field([], max_length=MOST_TURNS, description="Earlier turns of this conversation.")
    stream: bool = Field(False, description="Server-sent events: delta, then result or error.")

    def asked(self) -> Question:
        return Question(
            text=self.question,
            database=self.database,
            schema=self.ddl,
            evidence=self.evidence,
            history=tuple(turn.turn() for turn in self.history),
            references=tuple(turn.turn() for turn in self.references),
            n=self.n,
            execute=self.execute,
            pieces=self.stream,
        )


class Alternative(_Wire):
    """Another answer, and the share of the samples that give its result."""

    sql: str
    share: float


class Usage(_Wire):
    """Tokens that were read and made."""

    prompt_tokens: int
    completion_tokens: int


class ErrorBody(_Wire):
    """What is wrong: a word for programs and a sentence for people."""

    type: str
    message: str


class ErrorOut(_Wire):
    """Every error has this form."""

    error: ErrorBody


class ResultOut(_Wire):
    """Rows; ``truncated`` when there are more than the server's limit. In CSV form ``rows`` is empty."""

    columns: list[str]
    rows: list[list[Cell]]
    truncated: bool
    seconds: float
    csv: str | None = None


class AskOut(_Wire):
    """An answer. ``share`` is that of the samples that agree with it; ``raw`` the SQL before ``repairs``."""

    sql: str
    reasoning: str
    issues: list[str]
    repairs: list[str]
    raw: str | None
    share: float | None
    alternatives: list[Alternative]
    result: ResultOut | None
    execution_error: ErrorBody | None
    cut: bool = Field(description="The answer was longer than the server lets it be.")
    usage: Usage


class RunIn(_Wire):
    """SQL to run on a registered database."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"database": "zoo_animals", "sql": "SELECT count(*) FROM keepers"}]},
    )

    database: str
    sql: str
    format: Literal["json", "csv"] = "json"


class ColumnOut(_Wire):
    """A column; ``references`` is the ``table.column`` that it refers to."""

    name: str
    type: str
    primary_key: bool
    references: str | None


class TableOut(_Wire):
    """A table or view."""

    name: str
    columns: list[ColumnOut]


class DatabaseOut(_Wire):
    """A registered database; ``questions`` are examples."""

    name: str
    tables: list[TableOut]
    questions: list[str]


class DatabasesOut(_Wire):
    """All registered databases."""

    databases: list[DatabaseOut]


def tables(schema: Schema) -> list[TableOut]:
    """A schema in the form of the API."""
    found = []
    for table in schema.tables:
        refers = {key.column.lower(): f"{key.ref_table}.{key.ref_column}" for key in table.foreign_keys}
        keys = {name.lower() for name in table.primary_key}
        columns = [
            ColumnOut(
                name=c.name, type=c.type, primary_key=c.name.lower() in keys, references=refers.get(c.name.lower())
            )
            for c in table.columns
        ]
        found.append(TableOut(name=table.name, columns=columns))
    return found


def result_out(result: Result, form: str) -> ResultOut:
    """Rows as JSON or as CSV text."""
    told: dict[str, Any] = {"columns": result.columns, "truncated": result.truncated, "seconds": result.seconds}
    if form == "csv":
        return ResultOut(**told, rows=[], csv=csv_text(result))
    return ResultOut(**told, rows=result.rows)


def csv_text(result: Result) -> str:
    """RFC 4180, with a line of column names; NULL is an empty field."""
    import csv
    import io

    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(result.columns)
    writer.writerows(result.rows)
    return out.getvalue()


def answer_out(answer: Answer, form: str = "json") -> AskOut:
    """An answer in the form of the API."""
    failure = answer.failure
    return AskOut(
        sql=answer.sql,
        reasoning=answer.reasoning,
        issues=answer.issues,
        repairs=answer.repairs,
        raw=answer.raw,
        share=answer.share,
        alternatives=[Alternative(sql=other.sql, share=other.share) for other in answer.alternatives],
        result=result_out(answer.result, form) if answer.result else None,
        execution_error=ErrorBody(type=failure.kind, message=str(failure)) if failure else None,
        cut=answer.cut,
        usage=Usage(prompt_tokens=answer.prompt_tokens, completion_tokens=answer.completion_tokens),
    )
