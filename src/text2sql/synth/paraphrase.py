"""Paraphrases of questions by any OpenAI-compatible model, each checked before it is used.

A paraphrase must differ from its question, keep every value of the query, and stay in its language and near its length. Then
the model is asked for the paraphrase's SQL, whose result must be that of the gold query.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.progress import track

from sqleval import Evaluator
from text2sql.errors import UserError
from text2sql.generate import Decoding, Engine, EngineSettings, Request, open_engine
from text2sql.prompts import build_messages, parse_completion
from text2sql.records import TracedExample

_BATCH = 64
_ASK = (
    "Rephrase the question the way another person would ask it, in the same language. Keep its meaning exactly, and keep "
    "every name, number and quoted value as it is. Answer with the new question only."
)
_VALUE = re.compile(r"'((?:[^']|'')*)'|(?<![\w.])(\d+(?:\.\d+)?)")


def paraphrase(
    examples: Sequence[TracedExample], database: Path, settings: EngineSettings, journal: Path, check: bool = True
) -> list[tuple[TracedExample, str]]:
    """Each example with its new question, and why that is refused (empty: it is not).

    ``journal`` keeps the model's answers, so that a killed run continues.

    Raises:
        UserError: no server answers, or the journal is damaged.
    """
    done = _read_journal(journal)
    rest = [example for example in examples if example.question_id not in done]
    if rest:
        journal.parent.mkdir(parents=True, exist_ok=True)
        with open_engine(settings) as engine, journal.open("a", encoding="utf-8") as out:
            for start in track(range(0, len(rest), _BATCH), "paraphrasing", transient=True):
                for question_id, question, sql in _ask(engine, rest[start : start + _BATCH], check):
                    done[question_id] = (question, sql)
                    out.write(json.dumps([question_id, question, sql], ensure_ascii=False) + "\n")
                out.flush()
    answered = [(example, *done[example.question_id]) for example in examples if example.question_id in done]
    return _judge(answered, database, check)


def _read_journal(journal: Path) -> dict[str, tuple[str, str]]:
    if not journal.is_file():
        return {}
    whole, _, cut = journal.read_bytes().rpartition(b"\n")
    found = {}
    for number, line in enumerate(whole.split(b"\n") if whole else (), 1):
        try:
            question_id, question, sql = json.loads(line)
        except ValueError as error:
            raise UserError(
                f"{journal}:{number}: not a line of a paraphrase journal; remove the file to start again"
            ) from error
        found[question_id] = (question, sql)
    if cut:  # the process ended in the middle of a write
        journal.write_bytes(whole + b"\n" if whole else b"")
    return found


def _ask(engine: Engine, examples: Sequence[TracedExample], check: bool) -> Iterator[tuple[str, str, str]]:
    """(question_id, paraphrase, the SQL that the model gives for it)."""
    asked = [
        Request(e.question_id, [{"role": "system", "content": _ASK}, {"role": "user", "content": e.question}])
        for e in examples
    ]
    texts = {c.key: _question(c.text) for c in engine.generate(asked, Decoding(temperature=0.7, max_new_tokens=256))}
    back: dict[str, str] = {}
    if check:
        schemas = {example.question_id: example.schema for example in examples}
        again = [Request(key, build_messages(text, schemas[key])) for key, text in texts.items() if text]
        back = {c.key: parse_completion(c.text) for c in engine.generate(again, Decoding(max_new_tokens=512))}
    for key in (example.question_id for example in examples):
        yield key, texts.get(key, ""), back.get(key, "")


def _question(text: str) -> str:
    answer = text.rpartition("</think>")[2].strip()
    return " ".join(answer.split()).strip('"') if answer else ""


def _judge(
    answered: list[tuple[TracedExample, str, str]], database: Path, check: bool
) -> list[tuple[TracedExample, str]]:
    judged: list[tuple[TracedExample, str]] = []
    with TemporaryDirectory() as root, Evaluator(Path(root), protocol="spider-exec", jobs=1) as evaluator:
        home = Path(root) / "db"
        home.mkdir()
        (home / "db.sqlite").symlink_to(database.resolve())
        for example, question, sql in answered:
            reason = refusal(example, question)
            if not reason and check and not evaluator.score("db", example.sql, sql).correct:
                reason = "its SQL gives another result"
            judged.append((replace(example, question=question or example.question), reason))
    return judged


def refusal(example: TracedExample, question: str) -> str:
    """Why a text is no paraphrase of the example's question, as far as the texts show it; empty if they do not."""
    if not question:
        return "no answer"
    if question.casefold().strip(" ?.。？") == example.question.casefold().strip(" ?.。？"):
        return "unchanged"
    if not 0.3 <= len(question) / len(example.question) <= 3:
        return "much longer or shorter"
    han = [any("\u3400" <= c <= "\u9fff" for c in text) for text in (question, example.question)]
    if han[0] != han[1]:
        return "another language"
    lost = [value for value in _values(example) if value.casefold() not in question.casefold()]
    return f"the value {lost[0]} is lost" if lost else ""


def _values(example: TracedExample) -> list[str]:
    """The values of the query that the question names."""
    found = [(text.replace("''", "'").strip("%") if text else number) for text, number in _VALUE.findall(example.sql)]
    return [value for value in found if value and value.casefold() in example.question.casefold()]
