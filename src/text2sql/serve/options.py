"""The keys of a serving recipe."""

import ipaddress
from dataclasses import field
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from text2sql.generate import EngineSettings
from text2sql.linking import LinkOptions
from text2sql.prompts import AnswerFormat
from text2sql.recipe import STRICT
from text2sql.schema.model import Style
from text2sql.values import ValueOptions

Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Limits:
    """What a request may cost: bytes of a body, characters of a question and of a schema, samples ``n``, tokens of an answer,
    rows of a result, seconds of a request, of one statement and of a client that sends its body; ``concurrency`` requests
    at work and ``queue`` that wait, after which clients are told to come again."""

    body_bytes: Positive = 1 << 20
    question_chars: Positive = 4000
    schema_chars: Positive = 100_000
    samples: Positive = 8
    rows: Positive = 1000
    timeout: Seconds = 60.0
    sql_timeout: Seconds = 5.0
    send_timeout: Seconds = 10.0
    concurrency: Positive = 16
    queue: Positive = 32


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ServeOptions(EngineSettings):
    """The model and its prompt as in inference recipes, the databases that may be asked, and who may ask how much.

    ``databases`` are SQLite files by name; ``database_root`` adds every ``NAME/NAME.sqlite`` in it, ``toy_databases`` the
    described toy databases, which are built. ``questions`` are examples that the page offers, by database.
    ``schema_style``, ``linking`` and ``values`` are those of the data recipe that the model was trained with; ``references``
    is a retrieval recipe, whose index has solved examples for questions that bring none; ``repair``:
    :mod:`text2sql.repair`. Answers are greedy; of ``n`` asked for, sampled at ``temperature``, the vote decides.
    ``api_keys``: a file with one key a line; who listens beyond this machine needs it. ``allowed_hosts``: names under which
    the server is reached (default: this machine's own, or any where keys are asked for). ``log_text``: questions and SQL
    are logged, too.
    """

    databases: dict[str, Path] = field(default_factory=dict)
    database_root: Path | None = None
    toy_databases: Path | None = None
    toy_output: Path = Path("outputs/serve/database")
    questions: dict[str, list[str]] = field(default_factory=dict)
    answer_format: AnswerFormat = "plain"
    system_prompt: str | None = None
    schema_style: Style = "ddl"
    linking: LinkOptions | None = None
    values: ValueOptions | None = None
    references: Path | None = None
    repair: bool = True
    max_new_tokens: Positive = 256
    temperature: Annotated[float, Field(gt=0)] = 0.8
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    api_keys: Path | None = None
    allowed_hosts: list[str] = field(default_factory=list)
    log_text: bool = False
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.api_keys is None and not self.is_local:
            raise ValueError(f"host={self.host} can be reached by others: give a file of keys, api_keys=FILE")

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"
