"""Trees with a recorded generator: a small database, questions, and answers that depend on the prompt alone."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from support.sqleval_files import make_database
from text2sql.errors import UserError
from text2sql.generate import Completion, Decoding, Engine, Request
from text2sql.records import Example, write_jsonl
from text2sql.tree.options import TreeOptions

CITIES = ("Rome", "Oslo", "Lima", "Bonn", "Cairo", "Quito")
GOLD = "SELECT name FROM customer WHERE city = '{}'"


def make_world(folder: Path, questions: int = 12, **keys: Any) -> TreeOptions:
    """A database, examples, and the options to grow trees of them under ``folder``."""
    make_database(folder / "database/shop/shop.sqlite")
    rows = [
        Example(f"q{i}", "shop", f"Who lives in {CITIES[i % 6]}? ({i})", "CREATE TABLE customer (name, city)",
                GOLD.format(CITIES[i % 6]), split="train", difficulty=("easy", "hard")[i % 2])
        for i in range(questions)
    ]  # fmt: skip
    write_jsonl(folder / "examples.jsonl", rows)
    keys = {
        "questions_at_once": 5,
        "root_num": 2,
        "sample_num": 2,
        "temperature": 0.8,
        "jobs": 0,
        "pause": 0.01,
        **keys,
    }
    return TreeOptions(
        model_name_or_path="recorded",
        examples=folder / "examples.jsonl",
        database_root=folder / "database",
        output_dir=folder / "trees",
        **keys,
    )


class Recorded(Engine):
    """Answers by a hash of prompt and sample: right, wrong in one of several ways, or broken; counts its calls."""

    name = "recorded"

    def __init__(self) -> None:
        self.calls = 0
        self.prompts: list[str] = []

    def answer(self, prompt: str, sample: int) -> str:
        city = next(city for city in CITIES if f"in {city}?" in prompt)
        draw = int(hashlib.sha256(f"{prompt} {sample}".encode()).hexdigest(), 16) % 5
        other = CITIES[(CITIES.index(city) + 1) % 6]
        wrong = (
            GOLD.format(other),
            "SELECT nme FROM customer",
            "SELECT age FROM customer",
            "SELECT name FROM customer WHERE",
        )
        return GOLD.format(city) if draw == 4 else wrong[draw]

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Completion]:
        self.calls += 1
        for request in requests:
            prompt = request.messages[-1]["content"]
            self.prompts.append(prompt)
            for sample in range(decoding.n):
                yield Completion(request.key, sample, self.answer(prompt, sample), "stop", 1, 1)

    def close(self) -> None:
        """Nothing is held."""


class Failing(Recorded):
    """No answer to prompts with ``(3)`` for the first ``failures`` calls, and only empty text to those with ``(4)``."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Completion]:
        failing = self.calls < self.failures
        for found in super().generate([r for r in requests if not self._lost(r, failing)], decoding):
            prompt = next(r.messages[-1]["content"] for r in requests if r.key == found.key)
            yield Completion(found.key, found.sample, "" if "(4)" in prompt else found.text, "stop", 1, 0)
        if any(self._lost(request, failing) for request in requests):
            raise UserError("no server answered; the last said: status_500")

    @staticmethod
    def _lost(request: Request, failing: bool) -> bool:
        return failing and "(3)" in request.messages[-1]["content"]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The trees of a file as JSON."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
