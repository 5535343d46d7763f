"""Rows of known data sets as those who publish them write them, taken apart into columns that a layout names.

A row that cannot be what it claims to be comes back as a :class:`Fault`, which is counted and kept with its reason.
"""

import re
from typing import Any

from text2sql.data.reading import Fault, Row
from text2sql.prompts import parse_completion, read_answer
from text2sql.schema.sqlite import is_ddl

_PROMPT = re.compile(r"\\?\[SCHEMA\]\s*(.*?)\s*\\?\[QUESTION\]\s*(.*)", re.DOTALL | re.IGNORECASE)
_HUB = re.compile(r"\A.*?##\s*Instruction:\s*|\A\s*###\s*Input:\s*|\s*###\s*Response:\s*\Z", re.DOTALL)
_SQL_TAGS = re.compile(r"</?sql>", re.IGNORECASE)
_THINKING = re.compile(r"<think(?:ing)?>|<reasoning>", re.IGNORECASE)
_ANSWER = re.compile(r"<answer>|<sql>", re.IGNORECASE)

NO_THINKING, NO_ANSWER, BROKEN = TAG_FAULTS = ("no thinking in tags", "no answer in tags", "broken tags")
_ALSO_QUERIES = frozenset(("反思", "反思数据", "维度退化"))
_WITHOUT_QUERY = frozenset(("歧义澄清", "维度拒识", "指标拒识", "追问", "追问_必备约束"))


def alpaca_row(row: dict[str, Any]) -> Row:
    """``instruction`` as schema, ``input`` as question and ``output`` as bare SQL.

    Understood are whole prompts of ours; DB-GPT-Hub's rows, with their headings and, where a model has made it, the tables
    in ``table_creating``; the question as instruction, with the tables or nothing as input. An instruction that is neither
    tables nor described stays: it may name a task, with the schema from elsewhere.
    """
    texts = {name: _HUB.sub("", row[name]) for name in ("instruction", "input") if isinstance(row.get(name), str)}
    first, second = texts.get("instruction", ""), texts.get("input", "")
    if whole := _PROMPT.search(f"{first}\n{second}"):
        texts = {"instruction": whole[1], "input": whole[2]}
    elif first and not is_ddl(first) and (is_ddl(second) or not second.strip()):
        texts = {"instruction": second, "input": first}
    if isinstance(tables := row.get("table_creating"), str):
        texts["instruction"] = _SQL_TAGS.sub("", tables)
    if isinstance(answer := row.get("output"), str):
        texts["output"] = parse_completion(answer)
    return {**row, **texts}


def process_row(row: dict[str, Any]) -> Row:
    """The row with thinking and SQL taken from ``<think>..</think> <answer>..</answer>``, and its type by one name.

    A ``query`` that is a whole prompt of ours is taken apart. Types of the published data whose answer is no query, types that
    nobody knows, and responses without their tags are faults.
    """
    from text2sql.sql.complexity import normal_label  # workers on other sources need no parser of SQL

    kind, response, query = (row.get(name) for name in ("type", "response", "query"))
    if isinstance(query, str) and (whole := _PROMPT.search(query)):
        row = {**row, "schema": whole[1], "query": whole[2]}
    if isinstance(kind, str) and kind.strip():
        if kind.strip() in _WITHOUT_QUERY:
            return Fault("type without a query", f"{kind!r}")
        if not normal_label(kind) and kind.strip() not in _ALSO_QUERIES:
            return Fault("unknown type", f"{kind!r} is neither sql nor 多步推理")
        row = {**row, "type": normal_label(kind)}
    if not isinstance(response, str):
        return {**row, "sql": response} if "response" in row else row
    answer = read_answer(response)
    if not _THINKING.search(response) or not answer.reasoning:
        return Fault(NO_THINKING, "<think>..</think> is missing or empty")
    if not _ANSWER.search(response):
        return Fault(NO_ANSWER, "<answer>..</answer> is missing")
    if wrong := [flaw for flaw in answer.flaws if flaw != "no_sql"]:
        return Fault(BROKEN, ", ".join(wrong).replace("_", " "))
    return {**row, "reasoning": answer.reasoning, "sql": answer.sql}
