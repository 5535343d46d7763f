"""Training bytes equal inference bytes: LLaMA-Factory's qwen3 template against our chat template, token by token."""

import json
import os
from pathlib import Path

import pytest

from support.tiny_model import QUESTIONS, SCHEMA, make_tokenizer
from text2sql.generate.render import Renderer
from text2sql.prompts import build_messages, gold_answer, normalize_answer, parse_completion, read_answer

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("TEXT2SQL_SHARED", ROOT.parent / "shared"))
ANSWER = "SELECT count(*) FROM shop WHERE name = 'A  b'"
CASES = [
    build_messages(QUESTIONS[0], SCHEMA),
    build_messages(QUESTIONS[4], SCHEMA, evidence="sold most means the highest sum of amount"),
    build_messages(QUESTIONS[5], "  " + SCHEMA + "\n\n"),
    build_messages("quote <think> or <|im_end|>\n\n?", SCHEMA),
]


@pytest.fixture(scope="module", params=["small", "qwen", "tiny-base"])
def tokenizer(request):
    if request.param == "small":
        return make_tokenizer()
    if request.param == "tiny-base":
        folder = ROOT / "models" / "tiny-base"
        if not (folder / "tokenizer.json").is_file():
            pytest.skip("models/tiny-base is not there")
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(folder)
    folder = SHARED / "tokenizer_qwen"
    if not folder.is_dir():
        pytest.skip("the real Qwen vocabulary is not there (TEXT2SQL_SHARED)")
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    merges = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    return make_tokenizer(vocabulary, merges)


def factory_encoding(tokenizer, messages, thinking):
    from llamafactory.data.template import get_template_and_fix_tokenizer
    from llamafactory.hparams import DataArguments

    template = get_template_and_fix_tokenizer(tokenizer, DataArguments(template="qwen3", enable_thinking=thinking))
    return template.encode_oneturn(tokenizer, messages[1:], messages[0]["content"])


@pytest.mark.parametrize("prompt", CASES)
@pytest.mark.parametrize("thinking", [True, False])
def test_prompt_bytes_equal_llamafactory(tokenizer, prompt, thinking):
    answered = [*prompt, {"role": "assistant", "content": ANSWER}]
    source, target = factory_encoding(tokenizer, answered, thinking)
    ours = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, enable_thinking=thinking)
    assert ours == source
    text = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, enable_thinking=thinking, tokenize=False)
    assert text == tokenizer.decode(source)
    empty_block = "<think>\n\n</think>\n\n"
    assert text.endswith(empty_block) is not thinking
    assert tokenizer.decode(target) == (empty_block if thinking else "") + ANSWER + "<|im_end|>\n"
    whole = tokenizer.apply_chat_template(answered, tokenize=True)
    assert whole == source + target


@pytest.mark.parametrize("prompt", CASES[:3])
def test_thought_bytes_equal_llamafactory(tokenizer, prompt):
    thought = f"<think>\ncount the rows\n</think>\n\n{ANSWER}"
    answered = [*prompt, {"role": "assistant", "content": thought}]
    source, target = factory_encoding(tokenizer, answered, True)
    assert tokenizer.apply_chat_template(prompt, add_generation_prompt=True) == source
    assert tokenizer.apply_chat_template(answered) == source + target


@pytest.mark.parametrize("answer", ["plain", "reasoning", "process"])
def test_what_is_taught_is_read_back(answer):
    taught = gold_answer(f"{ANSWER} ;\n", answer, " Count the rows.\n", "sql", "none")
    assert parse_completion(taught) == normalize_answer(f"{ANSWER} ;\n") == ANSWER
    found = read_answer(taught)
    assert (found.sql, found.format, found.flaws) == (ANSWER, answer, ())
    if answer != "plain":
        assert found.reasoning == "Count the rows."
    assert (found.type, found.issues) == (("sql", "none") if answer == "process" else ("", ""))


@pytest.mark.parametrize(
    ("completion", "sql"),
    [
        ("SELECT a -- the 'name\nFROM t ; ", "SELECT a FROM t"),
        ("SELECT 'A  b -- x' /* y */ FROM\n\n t;;", "SELECT 'A  b -- x' FROM t"),
        ("```sql\nSELECT 1;\n```", "SELECT 1"),
        ("first\n<sql>SELECT 'it''s  ;'</sql>", "SELECT 'it''s  ;'"),
        ("<think>\nSELECT 2\n</think>\n\nSELECT 1", "SELECT 1"),
        ("thought only\n</think>\nSELECT 1<|im_end|>", "SELECT 1"),
        ("<think>\nnever ends", ""),
        ("", ""),
        ("I don't know", "I don't know"),
    ],
)
def test_sql_is_read_from_completions(completion, sql):
    assert parse_completion(completion) == sql


QUERY = "SELECT name FROM t WHERE a > 3"
FORMS = [
    f"[ANSWER] {QUERY}",
    f"The table t has it.\n[ANSWER]\n{QUERY};\n[/ANSWER]",
    f"[ANSWER]: ```sql\n{QUERY}\n```",
    f"<answer>{QUERY}</answer>",
    f"<ANSWER>\n```sqlite\n{QUERY};\n```\n</ANSWER>",
    f"<answer>SQL: {QUERY}",
    f"<answer><type>sql</type>{QUERY}<issues>none</issues></answer>",
    f"<sql>```sql\n{QUERY}\n```</sql>",
    f"```sql {QUERY}```",
    f"```\nSQL: {QUERY}\n```",
    f"SQL: {QUERY}",
    f"**SQL query:** {QUERY}",
    f"We need t.\nFinal answer: `{QUERY}`",
    f"SQL语句：{QUERY}",
    f"答案：\n```sql\n{QUERY}\n```",
    f"<thinking>\nSELECT 2\n</thinking>\n{QUERY}",
    f"SELECT 2\n</thinking>\n[ANSWER] {QUERY}",
]


@pytest.mark.parametrize("completion", FORMS)
def test_one_query_is_read_from_every_form_of_answer(completion):
    assert parse_completion(completion) == QUERY
    found = read_answer(completion)
    assert found.sql == QUERY
    assert set(found.flaws) <= {"unclosed_tag"}


@pytest.mark.parametrize(
    "completion",
    [
        "SELECT [ANSWER], [SQL] FROM t",
        "SELECT 'SQL: none' FROM t",
        "SELECT a FROM t WHERE b = 'The answer: select'",
        "SELECT `a b` FROM `t`",
        "WITH answer AS (SELECT 1) SELECT * FROM answer",
    ],
)
def test_sql_that_looks_like_a_form_of_answer_stays_whole(completion):
    assert parse_completion(completion) == read_answer(completion).sql == completion


@pytest.mark.parametrize(
    "completion",
    [
        f"[ANSWER] SELECT 1\n[ANSWER] {QUERY}",
        f"SQL: SELECT 1\nSQL: {QUERY}",
        f"<answer>```sql\nSELECT 1\n```\n```sql\n{QUERY}\n```</answer>",
        f"<sql>```sql\nSELECT 1\n```\n```sql\n{QUERY}\n```</sql>",
    ],
)
def test_two_queries_in_one_form_leave_open_which_is_meant(completion):
    assert parse_completion(completion) == QUERY
    assert "several_sql" in read_answer(completion).flaws


def test_a_system_prompt_of_ones_own_is_the_same_for_training_and_inference(tmp_path, caplog):
    from support.tables import lines, recipe, rows, write
    from text2sql.data.prepare import prepare
    from text2sql.evaluate.answers import JudgeOptions
    from text2sql.grpo.hparams import read_arguments
    from text2sql.infer import InferOptions
    from text2sql.prompts import check_system, judge_messages
    from text2sql.recipe import options_from
    from text2sql.records import Example, read_jsonl

    mine = "You write SQLite.\nNothing else."
    write(tmp_path / "a.json", rows(2))
    prepare(recipe(tmp_path, {"train": ["a.json"]}, system_prompt=mine, answer_format="reasoning"), "r")
    examples = tmp_path / "out" / "examples" / "train.jsonl"
    (example, _) = read_jsonl(examples, Example)
    asked = build_messages(example.question, example.schema, "", "reasoning", mine)
    assert asked[0] == {"role": "system", "content": mine}
    assert asked in [row["messages"][:2] for row in lines(tmp_path / "out" / "sft_train.jsonl")]
    given = {"examples": str(examples), "output": "x", "model_name_or_path": "m", "system_prompt": mine}
    assert options_from(InferOptions, given, "r").system_prompt == mine
    assert read_arguments({"system_prompt": mine}).system_prompt == mine
    judged = {"examples": "e", "predictions": "p", "output_dir": "o", "base_urls": ["u"], "system_prompt": mine}
    assert options_from(JudgeOptions, judged, "r").system_prompt == mine
    assert mine in judge_messages(example, "x", system=mine)[1]["content"]
    check_system(mine, examples)
    check_system(mine, tmp_path / "out" / "sft_train.jsonl")
    check_system(None, tmp_path / "elsewhere.jsonl")
    assert not caplog.records
    check_system(None, examples)
    assert (
        "was prepared with 'You write SQLite.\\nNothing else.' as system_prompt, this recipe has the default"
        in caplog.text
    )


def test_renderer_gives_the_template_ids(tmp_path):
    from transformers import Qwen3Config

    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    Qwen3Config(max_position_embeddings=300).save_pretrained(tmp_path)
    for thinking in (True, False, None):
        renderer = Renderer(tmp_path, thinking, None)
        for prompt in CASES:
            assert (
                renderer.encode(prompt)
                == factory_encoding(tokenizer, [*prompt, {"role": "assistant", "content": "x"}], thinking is not False)[
                    0
                ]
            )
    assert renderer.limit == 300
    assert renderer.end_ids == sorted(tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"]))


def test_earlier_turns_lose_their_thoughts(tokenizer):
    turns = [
        *CASES[0],
        {"role": "assistant", "content": "<think>\nlong\n</think>\n\nSELECT 1"},
        {"role": "user", "content": "again"},
    ]
    text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, enable_thinking=False, tokenize=False)
    assert "long" not in text
    assert "assistant\nSELECT 1<|im_end|>" in text
    assert text.endswith("again<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n")
