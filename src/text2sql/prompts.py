"""The one place where a question becomes chat messages, and a completion becomes SQL again.

Training (LLaMA-Factory's ``qwen3`` template) and inference (the tokenizer's chat template) must see the same
bytes: both start from :func:`build_messages`, and a test compares the results token by token.
"""

import re

from text2sql.records import Example

Message = dict[str, str]

SYSTEM = "You are a text-to-SQL assistant. Answer the question with one SQLite query over the given schema."

_THINK = re.compile(r"<think>.*?</think>", re.DOTALL)
_TAGGED = re.compile(r"<sql>(.*?)(?:</sql>|$)", re.DOTALL | re.IGNORECASE)
_BLANK = re.compile(r"""('(?:[^']|'')*'|"[^"]*"|`[^`]*`)|(?:\s|--[^\n]*|/\*.*?\*/)+""", re.DOTALL)
_FENCED = re.compile(r"```(?:sqlite|sql)?[ \t]*\n(.*?)(?:```|$)", re.DOTALL | re.IGNORECASE)


def user_turn(question: str, schema: str, evidence: str = "") -> str:
    """The user's message: schema, then outside knowledge where there is some, then the question."""
    hint = f"[EVIDENCE]\n{evidence.strip()}\n\n" if evidence.strip() else ""
    return f"[SCHEMA]\n{schema.strip()}\n\n{hint}[QUESTION]\n{question.strip()}"


def follow_up_turn(question: str) -> str:
    """A later question over the schema that the conversation has already shown."""
    return f"[QUESTION]\n{question.strip()}"


def build_messages(question: str, schema: str, evidence: str = "") -> list[Message]:
    """System and user messages that ask for SQL."""
    return [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": user_turn(question, schema, evidence)},
    ]


def training_messages(example: Example) -> list[Message]:
    """The prompt of :func:`build_messages` with the gold SQL as the assistant's answer."""
    prompt = build_messages(example.question, example.schema, example.evidence)
    return [*prompt, {"role": "assistant", "content": normalize_answer(example.sql)}]


def normalize_answer(sql: str) -> str:
    """SQL as it is taught: no comments, single spaces outside quotes, no trailing semicolon."""
    return _BLANK.sub(lambda found: found[1] or " ", sql).strip("; ")


def parse_completion(text: str) -> str:
    """The SQL in a completion: after any thinking, from ``<sql>`` tags, a code fence, or the bare text.

    Never raises; a completion without SQL gives the text itself, or an empty string.
    """
    answer = _THINK.sub("", text)
    if "</think>" in answer:  # the opening tag was part of the prompt
        answer = answer.rpartition("</think>")[2]
    answer = answer.partition("<think>")[0]
    for pattern in (_TAGGED, _FENCED):
        found = pattern.findall(answer)
        if found:
            answer = found[-1]
            break
    return normalize_answer(answer.split("<|im_end|>")[0])
