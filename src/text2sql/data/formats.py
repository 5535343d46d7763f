"""The training files: what a row of each format is, and how LLaMA-Factory's dataset_info.json describes them."""

from typing import Any

from text2sql.data.normal import normal_sql
from text2sql.data.options import Format
from text2sql.data.source import MadeRow
from text2sql.prompts import AnswerFormat, Message, gold_answer
from text2sql.records import Example, TracedExample

_FILES = {"messages": "sft", "alpaca": "alpaca", "ranking": "ranking", "grpo": "grpo"}
_TAGS = {f"{role}_tag": role for role in ("role", "content", "user", "assistant", "system")}
_MESSAGES: dict[str, Any] = {"formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": _TAGS}
_DESCRIPTIONS: dict[str, dict[str, Any]] = {
    "messages": _MESSAGES,
    "grpo": _MESSAGES,
    "alpaca": {
        "formatting": "alpaca",
        "columns": {"prompt": "instruction", "query": "input", "response": "output", "system": "system"},
    },
    "ranking": {
        "formatting": "sharegpt",
        "ranking": True,
        "columns": {"messages": "messages", "chosen": "chosen", "rejected": "rejected"},
        "tags": _TAGS,
    },
}


def file_of(kind: Format, split: str) -> str:
    """The training file of a format and split."""
    return f"{_FILES[kind]}_{split}.jsonl"


def dataset_info(name: str, splits: tuple[str, ...], formats: list[Format]) -> dict[str, Any]:
    """LLaMA-Factory's description of the training files, for ``dataset_dir`` set to the output folder.

    Messages are ``<name>_<split>``; other formats have their own name at the end.
    """
    return {
        f"{name}_{split}{'' if kind == 'messages' else f'_{kind}'}": {
            "file_name": file_of(kind, split),
            **_DESCRIPTIONS[kind],
        }
        for split in splits
        for kind in formats
    }


def training_rows(
    made: MadeRow, messages: list[Message], how: AnswerFormat, formats: list[Format]
) -> list[dict[str, Any] | None]:
    """The row's line in the training file of each format; None where it gives no preference pair."""
    if not formats:
        return []
    example = made.example
    answer = _gold(example, how)
    whole = {"messages": [*messages, {"role": "assistant", "content": answer}]}
    rows: list[dict[str, Any] | None] = []
    for kind in formats:
        if kind == "messages":
            rows.append(whole)
        elif kind == "grpo":
            rows.append({**whole, **example.__dict__})
        elif kind == "alpaca":
            system, user = (message["content"] for message in messages)
            rows.append({"system": system, "instruction": user, "input": "", "output": answer})
        else:
            rows.append(_ranking(made, messages, answer, how))
    return rows


def _ranking(made: MadeRow, messages: list[Message], answer: str, how: AnswerFormat) -> dict[str, Any] | None:
    """A preference pair, or None where there is no worse query, or none that differs."""
    if not made.rejected_sql or normal_sql(made.rejected_sql) == normal_sql(made.example.sql):
        return None
    worse = _gold(TracedExample(**{**made.example.__dict__, "sql": made.rejected_sql, "kind": ""}), how)
    chosen, rejected = ({"role": "assistant", "content": text} for text in (answer, worse))
    return {"messages": messages, "chosen": chosen, "rejected": rejected}


def _gold(example: Example, how: AnswerFormat) -> str:
    if how == "plain":
        return gold_answer(example.sql)
    from text2sql.sql import classify, find_issues
    from text2sql.synth.trace import trace

    reasoning = getattr(example, "reasoning", "") or trace(example.question, example.sql, example.schema)
    kind = getattr(example, "kind", "") or classify(example.sql).label
    issues = ", ".join(issue.name for issue in find_issues(example.sql, example.question, example.schema))
    return gold_answer(example.sql, how, reasoning, kind, issues or "none")
