"""Reads the scores out of a judge's reply.

Judges are language models: they wrap their JSON in prose, fences and thoughts, leave commas dangling, write "4/5" or
Chinese keys. Such forms are accepted; a reply with a score that is missing or beyond the scale is refused, never completed.
"""

import ast
import json
import re
from contextlib import suppress
from functools import partial
from typing import Any

from text2sql.prompts import JUDGE_AXES, JUDGE_ERRORS

_NAMES = {
    "sql": ("sql",),
    "reasoning": ("reason", "推理"),
    "format": ("format", "格式"),
    "educational": ("educat", "教"),
}
_SCORE = ("score", "rating", "分数", "得分")
_NUMBER = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s*(?:/\s*5|out\s+of\s+5|points?|分)?\s*\Z", re.IGNORECASE)
_LINE = re.compile(
    r"^[\W\d_]*(sql|reasoning|format|educational|推理|格式|教育)[^:：=\n]{0,24}[:：=]\W*(-?\d+(?:\.\d+)?)(?:\s*/\s*(\d+))?",
    re.IGNORECASE | re.MULTILINE,
)
_QUOTES = str.maketrans("“”„‘’，：", '"""\'\',:')


class UnreadableReplyError(Exception):
    """A reply without usable scores; ``reason`` is ``empty``, ``no_scores``, ``missing_score`` or ``out_of_range``."""

    def __init__(self, reason: str, problem: str) -> None:
        super().__init__(problem)
        self.reason = reason


def read_reply(text: str) -> tuple[dict[str, float], str, str]:
    """Scores, 1 to 5, by axis (:data:`text2sql.prompts.JUDGE_AXES`), the comment in a judge's reply, and the type of error
    that it names (of :data:`text2sql.prompts.JUDGE_ERRORS`; empty where it names none of them).

    Raises:
        UnreadableReplyError: there are none, one is missing, or one is not within 1 and 5; says which.
    """
    answer = text.rpartition("</think>")[2].partition("<think>")[0]
    if not answer.strip():
        raise UnreadableReplyError("empty", "the reply is empty")
    named = [by_axis for found in _objects(answer) if (by_axis := _by_axis(found))]
    values, comment, error = max(named, key=lambda parts: len(parts[0]), default=(_by_line(answer), "", ""))
    if not values:
        raise UnreadableReplyError("no_scores", "no scores in it")
    missing = [axis for axis in JUDGE_AXES if axis not in values]
    if missing:
        raise UnreadableReplyError("missing_score", f"no score for {', '.join(missing)}")
    outside = [f"{axis} {values[axis]:g}" for axis in JUDGE_AXES if not 1 <= values[axis] <= 5]
    if outside:
        raise UnreadableReplyError("out_of_range", f"not within 1 and 5: {', '.join(outside)}")
    return {axis: values[axis] for axis in JUDGE_AXES}, comment, error


def _objects(text: str) -> list[dict[Any, Any]]:
    """The JSON objects of a text, the last one first; Python's spelling and dangling commas are understood."""
    found = []
    for start in reversed([match.start() for match in re.finditer(r"\{", text)][:200]):
        body = text[start : _end(text, start)]
        ends = ("",) if body.endswith("}") else ('"}', "}")  # cut off behind the scores
        for spelled in (text + end for text in (body, body.translate(_QUOTES)) for end in ends):
            value = _parse(spelled)
            if isinstance(value, dict):
                found.append(value)
                break
    return found


def _parse(body: str) -> Any:
    plain = re.sub(r",(\s*[}\]])", r"\1", body)
    for parse in (partial(json.loads, strict=False), ast.literal_eval):
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            return parse(plain)
    return None


def _end(text: str, start: int) -> int:
    """Behind the brace that closes the one at ``start``; the end of the text if none does."""
    depth = 0
    for place in range(start, len(text)):
        depth += (text[place] == "{") - (text[place] == "}")
        if not depth:
            return place + 1
    return len(text)


def _by_axis(found: dict[Any, Any]) -> tuple[dict[str, float], str, str] | None:
    """The scores in an object, which may hold them one level down, its comment and type of error; None if it has none."""
    scores: dict[str, float] = {}
    for axis, starts in _NAMES.items():
        value = next((v for key, v in found.items() if str(key).strip().lower().startswith(starts)), None)
        if isinstance(value, dict):
            value = next((v for key, v in value.items() if str(key).lower() in _SCORE), None)
        number = _number(value)
        if number is not None:
            scores[axis] = number
    comment = next((v for key, v in found.items() if str(key).lower() in ("comment", "comments", "评语")), "")
    said = next((v for key, v in found.items() if str(key).lower().replace(" ", "_") in ("error_type", "错误类型")), "")
    error = str(said).strip().lower().replace(" ", "_")
    return (scores, str(comment), error if error in JUDGE_ERRORS else "") if scores else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if abs(value) < 1e6 else None
    match = _NUMBER.match(value) if isinstance(value, str) else None
    return float(match[1]) if match else None


def _by_line(text: str) -> dict[str, float]:
    """Scores written as lines, ``SQL: 4/5``; the last of an axis counts, and one out of another number than 5 does not."""
    found = {}
    for name, value, of in _LINE.findall(text):
        if of in ("", "5"):
            axis = next(axis for axis, starts in _NAMES.items() if name.lower().startswith(starts))
            found[axis] = float(value)
    return found
