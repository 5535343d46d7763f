"""Build chat messages from questions, and read SQL from completions; nothing else does either.

Training (LLaMA-Factory's ``qwen3`` template) and inference (the tokenizer's chat template) must see the same
bytes: both start from :func:`build_messages`, and a test compares the results token by token.
"""

import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

import yaml

from sqleval.outcome import Failure, Outcome, Rows
from text2sql.artifacts import read_note
from text2sql.records import Example, Reference

logger = logging.getLogger(__name__)
Message = dict[str, str]
AnswerFormat = Literal["plain", "reasoning", "process"]
JudgeLanguage = Literal["en", "zh"]

_TEXTS = yaml.safe_load(files("text2sql").joinpath("prompts.yaml").read_text(encoding="utf-8"))
SYSTEMS: dict[AnswerFormat, str] = _TEXTS["systems"]
SYSTEM = SYSTEMS["plain"]
REFERENCES: dict[str, str] = _TEXTS["references"]
JUDGES: dict[JudgeLanguage, dict[str, str]] = _TEXTS["judges"]
_REVISION: dict[str, str] = _TEXTS["revision"]
PREPARED = "data_preparation_report.json"
"""What data preparation leaves beside its files: how they were made, the system prompt included."""
JUDGE_AXES = ("sql", "reasoning", "format", "educational")
JUDGE_ERRORS = "none tables columns joins conditions grouping ordering nesting values syntax other".split()
"""What a judge may say is wrong with the SQL."""

_THINKS = re.compile(r"<(/?)think(?:ing)?>", re.IGNORECASE)
_THINK = re.compile(r"<think>.*?</think>", re.DOTALL)
_TAGGED = re.compile(r"<sql>(.*?)(?:</sql>|$)", re.DOTALL | re.IGNORECASE)
_ANSWERED = re.compile(r"<answer>(.*?)(?:</answer>|$)", re.DOTALL | re.IGNORECASE)
_BESIDE = re.compile(r"<(type|issues)>.*?</\1>|\[/(?:answer|sql)\].*", re.DOTALL | re.IGNORECASE)
_MARKED = re.compile(r"\[(?:answer|sql)\][ \t]*:?\s*(?=(?:select|with)\b|```)", re.IGNORECASE)
_BLANK = re.compile(r"""('(?:[^']|'')*'|"[^"]*"|`[^`]*`)|(?:\s|--[^\n]*|/\*.*?\*/)+""", re.DOTALL)
_FENCED = re.compile(r"```(?:\w*sql\w*\s|[ \t]*\n)(.*?)(?:```|$)", re.DOTALL | re.IGNORECASE)
_LABELLED = re.compile(
    r"(?:^|\n)[ \t>*_#]*(?:final[ \t]+)?(?:sql|query|answer|答案|查询)[^\n:：;'\"]{0,24}[:：][*_]*\s*(?=`?(?:select|with)\b)",
    re.IGNORECASE,
)


def name_issues(names: Sequence[str]) -> None:
    """Add issues to those that the process format's system prompt lists; each once."""
    head, _, rest = SYSTEMS["process"].partition(" Issues: ")
    listed, _, end = rest.partition(". ")
    known = dict.fromkeys([*listed.split(", "), *names])
    SYSTEMS["process"] = f"{head} Issues: {', '.join(known)}. {end}"


def user_turn(question: str, schema: str, evidence: str = "", values: str = "") -> str:
    """The user's message: schema, then stored values and outside knowledge where there are some, then the question.

    The schema comes first, because questions about one database share it, and with it the work that it costs.
    """
    parts = {"SCHEMA": schema, "VALUES": values, "EVIDENCE": evidence, "QUESTION": question}
    always = ("SCHEMA", "QUESTION")
    return "\n\n".join(f"[{name}]\n{text.strip()}" for name, text in parts.items() if text.strip() or name in always)


def follow_up_turn(question: str) -> str:
    """A later question over the schema that the conversation has already shown."""
    return f"[QUESTION]\n{question.strip()}"


def build_messages(
    question: str,
    schema: str,
    evidence: str = "",
    answer: AnswerFormat = "plain",
    system: str | None = None,
    values: str = "",
    references: Sequence[Reference] = (),
) -> list[Message]:
    """System and user messages that ask for SQL; ``answer`` says what the completion shall look like.

    ``system`` (a recipe's ``system_prompt``) stands in place of the format's own text. ``values`` are lines of stored
    values that the question means (:func:`text2sql.values.match.render`); ``references`` are shown below the system text.
    """
    task = SYSTEMS[answer] if system is None else system
    return [
        {"role": "system", "content": f"{task}\n\n{reference_list(references)}" if references else task},
        {"role": "user", "content": user_turn(question, schema, evidence, values)},
    ]


def ask(example: Example, answer: AnswerFormat = "plain", system: str | None = None) -> list[Message]:
    """:func:`build_messages` for an example."""
    shown = (example.values, example.references)
    return build_messages(example.question, example.schema, example.evidence, answer, system, *shown)


def reference_list(references: Sequence[Reference]) -> str:
    """The block of solved examples."""
    return REFERENCES["block"].format(items="\n\n".join(map(reference_item, references)))


def reference_item(reference: Reference) -> str:
    """One solved example of the block; its length is what the block grows by."""
    sql = normalize_answer(reference.sql)
    return REFERENCES["item"].format(question=reference.question.strip(), sql=sql)


def revise(
    example: Example, sql: str, feedback: str, answer: AnswerFormat = "plain", system: str | None = None
) -> list[Message]:
    """:func:`ask`, with an earlier answer and what became of it (:func:`feedback_on`) behind the question."""
    *before, user = ask(example, answer, system)
    told = _REVISION["turn"].format(sql=sql, feedback=feedback)
    return [*before, {**user, "content": f"{user['content']}\n\n{told}"}]


def feedback_on(outcome: Outcome, unstored: Sequence[str] = (), gold: Outcome | None = None) -> str:
    """What a query gave, in words: its error, or the shape of its result and literals that are stored nowhere.

    ``gold`` adds the shape of the right result, which nobody knows outside of training.
    """
    if isinstance(outcome, Failure):
        lines = [_REVISION["failed"].format(error=outcome.error.value, message=" ".join(outcome.message.split())[:200])]
    elif not outcome.rows:
        lines = [_REVISION["empty"]]
    elif all(cell is None for row in outcome.rows for cell in row):
        lines = [_REVISION["nulls"]]
    else:
        lines = [_shape("shape", outcome)]
    lines += [_REVISION["unstored"].format(value=value) for value in unstored]
    return "\n".join([*lines, *([_shape("oracle", gold)] if isinstance(gold, Rows) else [])])


def _shape(words: str, found: Rows) -> str:
    names = ", ".join(found.columns)
    return _REVISION[words].format(rows=len(found.rows), count=len(found.columns), names=names[:200])


def check_system(system: str | None, file: Path) -> None:
    """Warn where a prepared ``file`` was made with another ``system_prompt`` than the recipe that asks its questions."""
    notes = (read_note(folder / PREPARED) for folder in (file.parent.parent, file.parent))
    made_of = next((note["made_of"] for note in notes if note), None)
    if made_of is not None and (made := made_of.get("recipe", {}).get("system_prompt")) != system:
        shown = [f"{text[:60]!r}" if text else "the default" for text in (made, system)]
        logger.warning("%s was prepared with %s as system_prompt, this recipe has %s: give both the same", file, *shown)


def judge_messages(
    example: Example,
    completion: str,
    answer: AnswerFormat = "process",
    language: JudgeLanguage = "en",
    system: str | None = None,
) -> list[Message]:
    """Messages that ask a model to score a completion; ``answer`` and ``system`` are those of :func:`build_messages`.

    The mark around the completion depends on its text, so that a completion cannot close it.
    """
    words, mark = JUDGES[language], hashlib.sha256(completion.encode("utf-8", "replace")).hexdigest()[:16]
    task = "\n\n".join(message["content"] for message in ask(example, answer, system))
    told = words["answer"].format(mark=mark)
    user = f"{words['task']}\n{task}\n\n{words['reference']}\n{example.sql}\n\n{told}\n{mark}\n{completion}\n{mark}"
    return [{"role": "system", "content": words["system"]}, {"role": "user", "content": user}]


def judge_again(reply: str, problem: str, language: JudgeLanguage = "en") -> list[Message]:
    """What to add to :func:`judge_messages` after a reply that cannot be read."""
    correction = JUDGES[language]["again"].format(problem=problem)
    return [{"role": "assistant", "content": reply[:2000].strip() or "-"}, {"role": "user", "content": correction}]


def gold_answer(
    sql: str, answer: AnswerFormat = "plain", reasoning: str = "", kind: str = "", issues: str = "none"
) -> str:
    """The completion that a model shall learn for a gold query; ``reasoning``, ``kind`` and ``issues`` fill its tags.

    The blank line after ``</think>`` is what Qwen3's chat template writes there.
    """
    query = normalize_answer(sql)
    if answer == "plain":
        return query
    if answer == "reasoning":
        return f"<reasoning>\n{reasoning.strip()}\n</reasoning>\n<sql>\n{query}\n</sql>"
    declared = f"<type>{kind}</type>\n<sql>{query}</sql>\n<issues>{issues}</issues>"
    return f"<think>\n{reasoning.strip()}\n</think>\n\n<answer>\n{declared}\n</answer>"


def normalize_answer(sql: str) -> str:
    """SQL as it is taught: no comments, single spaces outside quotes, no trailing semicolon."""
    plain = sql.isascii() and sql.isprintable() and "  " not in sql and "--" not in sql and "/*" not in sql
    return (sql if plain else _BLANK.sub(lambda found: found[1] or " ", sql)).strip("; ")


def parse_completion(text: str) -> str:
    """The SQL in a completion, after any thinking (``<think>`` or ``<thinking>``).

    It is what stands in ``<sql>`` tags; else in ``<answer>`` tags, behind ``[ANSWER]``, in a code fence (also inside one
    of these), or behind a label such as ``SQL:``; else the bare text. Of several the last one counts. Never raises;
    a completion without SQL gives the text itself, or an empty string.
    """
    return _read_sql(text)[0]


def _read_sql(text: str) -> tuple[str, bool]:
    """The SQL of a completion, and whether others stand beside it in the same form."""
    answer = _THINK.sub("", _THINKS.sub(r"<\1think>", text))
    if "</think>" in answer:  # the opening tag was part of the prompt
        answer = answer.rpartition("</think>")[2]
    answer = answer.partition("<think>")[0].split("<|im_end|>")[0]
    found = _TAGGED.findall(answer)
    several = len(found) > 1
    if not found:
        answer = _BESIDE.sub("", (_ANSWERED.findall(answer) or [answer])[-1])
        found = _MARKED.split(answer)
        several = len(found) > 2
    fenced = _FENCED.findall(found[-1])
    labelled = _LABELLED.split((fenced or found)[-1])
    several = several or len(fenced) > 1 or len(labelled) > 2
    sql = labelled[-1].strip()
    if sql.startswith("`") and sql.find("`", 1) == len(sql) - 1:
        sql = sql[1:-1]
    return normalize_answer(sql), several


@dataclass(frozen=True)
class Answer:
    """The parts of one completion, each on its own and stripped; empty where the completion has none.

    ``reasoning`` is the text of ``<reasoning>``, ``<think>`` or ``<thinking>``, ``type`` and ``issues`` what ``<type>`` and
    ``<issues>`` declare. ``format`` is the format whose tags are all there, once each, in order and with something in
    each of them; otherwise ``plain``. ``flaws``: ``several_sql`` (more than one block of SQL), ``broken_tags`` (a tag
    repeated, nested or out of place), both of which leave open which SQL is meant; ``unclosed_tag``; ``no_sql``.
    """

    sql: str
    reasoning: str
    type: str
    issues: str
    format: AnswerFormat
    flaws: tuple[str, ...]

    @property
    def undeclared(self) -> bool:
        """Whether it thinks in a form without a place for type and issues: ``<think>..</think> <answer>SQL</answer>``."""
        return bool(self.reasoning) and not (self.type or self.issues)


_TAG = re.compile(r"<(/?)(reasoning|sql|think|answer|type|issues)>", re.IGNORECASE)
_SHAPES: dict[tuple[str, ...], AnswerFormat] = {
    ("reasoning", "sql"): "reasoning",
    ("think", "answer", "type", "sql", "issues"): "process",
}


def read_answer(text: str) -> Answer:
    """Take a completion of any format apart. Never raises; the SQL is that of :func:`parse_completion`.

    Outside the process format a ``<think>`` block is scratch paper, so tags in it do not count.
    """
    text = _THINKS.sub(r"<\1think>", text.partition("<|im_end|>")[0])
    if "<think>" not in text and "</think>" in text:  # the opening tag was part of the prompt
        text = "<think>" + text
    scratch = "" if "<answer>" in text.lower() else "".join(_THINK.findall(text))
    blocks, placed, closed = _blocks(_THINK.sub("", text) if scratch else text)
    names, found = tuple(name for name, _ in blocks), dict(blocks)
    sql, several = _read_sql(text)
    flaws = (
        ("several_sql", several or names.count("sql") > 1),
        ("broken_tags", not placed or len(found) < len(names)),
        ("unclosed_tag", not closed),
        ("no_sql", not sql),
    )
    flawed = tuple(name for name, holds in flaws if holds)
    shape = _SHAPES.get(names, "plain") if not flawed and all(found.values()) else "plain"
    reasoning = found.get("reasoning") or found.get("think") or scratch[len("<think>") : -len("</think>")].strip()
    return Answer(sql, reasoning, found.get("type", ""), found.get("issues", ""), shape, flawed)


def _blocks(text: str) -> tuple[list[tuple[str, str]], bool, bool]:
    """Tagged blocks (name, content) in order of opening; whether all are where they may be; whether all are closed."""
    found: list[tuple[str, str]] = []
    opened: list[tuple[str, int, int]] = []
    placed = True
    for tag in _TAG.finditer(text):
        name = tag[2].lower()
        if not tag[1]:
            placed &= not opened or (opened[-1][0] == "answer" and name in ("type", "sql", "issues"))
            opened.append((name, tag.end(), len(found)))
            found.append((name, ""))
        elif opened and opened[-1][0] == name:
            _, start, place = opened.pop()
            found[place] = (name, text[start : tag.start()].strip())
        else:
            placed = False
    return found, placed, not opened
