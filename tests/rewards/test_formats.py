"""The three answer formats: what prompts ask for, and what is read from completions."""

import pytest

from text2sql.prompts import SYSTEM, build_messages, parse_completion, read_answer

REASONING = "<reasoning>\nstep by step\n</reasoning>\n<sql>\nSELECT 1;\n</sql>"
PROCESS = (
    "<think>\nhm\n</think>\n<answer>\n<type>多步推理</type>\n<sql>SELECT 1</sql>\n<issues>none</issues>\n</answer>"
)


def test_the_plain_prompt_is_unchanged_and_the_others_show_their_format():
    assert SYSTEM == "You are a text-to-SQL assistant. Answer the question with one SQLite query over the given schema."
    plain = build_messages("How many?", "CREATE TABLE t (a);")
    assert plain == [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": "[SCHEMA]\nCREATE TABLE t (a);\n\n[QUESTION]\nHow many?"},
    ]
    for answer, tags in (
        ("reasoning", ("<reasoning>", "<sql>")),
        ("process", ("<think>", "<answer>", "<type>", "<issues>")),
    ):
        system, user = build_messages("How many?", "CREATE TABLE t (a);", answer=answer)
        assert user == plain[1]
        assert system["content"].startswith(SYSTEM)
        assert all(tag in system["content"] for tag in tags)


def test_parts_of_a_reasoning_completion():
    answer = read_answer(REASONING)
    assert (answer.sql, answer.reasoning, answer.format, answer.flaws) == ("SELECT 1", "step by step", "reasoning", ())
    assert read_answer(f"<think>\nscratch <sql>SELECT 2</sql>\n</think>\n\n{REASONING}").format == "reasoning"
    assert read_answer(REASONING.upper().replace("</REASONING>", "</Reasoning>")).format == "reasoning"


def test_parts_of_a_process_completion():
    answer = read_answer(PROCESS + "<|im_end|>")
    assert (answer.sql, answer.reasoning, answer.type, answer.issues) == ("SELECT 1", "hm", "多步推理", "none")
    assert (answer.format, answer.flaws) == ("process", ())
    assert read_answer(PROCESS.removeprefix("<think>\n")).format == "process"  # the prompt had opened the tag


@pytest.mark.parametrize(
    ("text", "flaws"),
    [
        ("SELECT 1", ()),
        ("```sql\nSELECT 1\n```", ()),
        ("<think>\n```sql\nSELECT 2\n```\n</think>\nSELECT 1", ()),
        ("<sql>SELECT 1</sql><sql>SELECT 2</sql>", ("several_sql", "broken_tags")),
        ("```sql\nSELECT 1\n```\n```sql\nSELECT 1\n```", ("several_sql",)),
        ("<reasoning>x <sql>SELECT 2</sql></reasoning><sql>SELECT 1</sql>", ("several_sql", "broken_tags")),
        ("<reasoning>a</reasoning><reasoning>b</reasoning><sql>SELECT 1</sql>", ("broken_tags",)),
        ("<answer><answer><sql>SELECT 1</sql></answer></answer>", ("broken_tags",)),
        ("<reasoning>a</reasoning><sql>SELECT 1", ("unclosed_tag",)),
        ("", ("no_sql",)),
        ("<sql></sql>", ("no_sql",)),
    ],
)
def test_flaws(text, flaws):
    answer = read_answer(text)
    assert answer.flaws == flaws
    assert answer.format == "plain"
    assert answer.sql == parse_completion(text)
