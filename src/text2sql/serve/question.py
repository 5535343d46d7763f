"""What all ways in hand to the answerer, and what they get."""

from dataclasses import dataclass

from text2sql.serve.databases import Result
from text2sql.serve.error import ServeError


@dataclass(frozen=True)
class Turn:
    """A question with its SQL."""

    question: str
    sql: str


@dataclass(frozen=True)
class Question:
    """What is asked: about a registered ``database``, or about a ``schema`` given as ``CREATE TABLE`` text.

    ``history`` are the earlier turns of the conversation, ``references`` questions like this one with their SQL; ``n``
    answers are sampled where it is above 1, and ``execute`` runs the chosen one. ``pieces``: somebody watches the answer come.
    """

    text: str
    database: str | None = None
    schema: str | None = None
    evidence: str = ""
    history: tuple[Turn, ...] = ()
    references: tuple[Turn, ...] = ()
    n: int = 1
    execute: bool = False
    pieces: bool = False


@dataclass(frozen=True)
class Other:
    """Another answer, and the share of the samples that give its result."""

    sql: str
    share: float


@dataclass(frozen=True)
class Answer:
    """``share`` is that of the samples that agree with ``sql`` (None for one answer); ``raw`` the SQL before ``repairs``.

    ``result`` is there when it was asked for and the statement gave rows, ``failure`` when it did not. ``cut`` tells that
    the model's answer was longer than it may be.
    """

    sql: str
    reasoning: str
    issues: list[str]
    repairs: list[str]
    raw: str | None
    share: float | None
    alternatives: list[Other]
    result: Result | None
    failure: ServeError | None
    prompt_tokens: int
    completion_tokens: int
    cut: bool
