"""What a search gives, what it leaves out, and that hostile names and questions change nothing."""

from dataclasses import replace
from pathlib import Path

import pytest

from support.solved import solved
from text2sql.errors import UserError
from text2sql.prompts import ask, reference_list
from text2sql.rag import RagOptions
from text2sql.rag.index import asked, build
from text2sql.rag.models import new_reranker
from text2sql.rag.search import Found, Retriever
from text2sql.records import Example, read_jsonl, write_jsonl
from text2sql.sql.skeleton import skeleton
from text2sql.values.match import tokens

QUESTIONS = ["How many animals are there?", "Which clients is the oldest?"]
SCHOOL = 'it\'s a "school"'


@pytest.fixture(scope="module")
def index(embedder: Path, tmp_path_factory: pytest.TempPathFactory) -> RagOptions:
    folder = tmp_path_factory.mktemp("index")
    write_jsonl(folder / "train.jsonl", solved())
    files = {"examples": [folder / "train.jsonl"], "embedder": str(embedder), "instruction": "find alike"}
    options = RagOptions(uri=str(folder / "index.db"), near=None, **files)
    build(options)
    return options


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
def test_every_mode_finds_k_and_nothing_twice(index: RagOptions, mode: str) -> None:
    with Retriever(replace(index, mode=mode, k=3)) as retriever:
        found = retriever.find(QUESTIONS)
        assert [[row.question for row in rows] for rows in found] == [
            [row.question for row in retriever.find([question])[0]] for question in QUESTIONS
        ], "a question's rows do not depend on its batch"
    assert [len({(row.question, row.db_id) for row in rows}) for rows in found] == [3, 3]
    if mode == "lexical":
        assert found[0][0].question == QUESTIONS[0]


@pytest.mark.parametrize("index_type", ["FLAT", "HNSW"])
def test_the_questions_own_database_and_near_duplicates_stay_out(
    index: RagOptions, index_type: str, tmp_path: Path
) -> None:
    other = replace(index, index_type=index_type, uri=str(tmp_path / "index.db"), max_k=20, k=20)
    build(other)
    with Retriever(other) as retriever:
        names = [{row.db_id for row in rows} for rows in retriever.find(QUESTIONS * 2, ["zoo", SCHOOL, "shop", "none"])]
    assert names == [{SCHOOL, "shop"}, {"zoo", "shop"}, {"zoo", SCHOOL}, {"zoo", SCHOOL, "shop"}]
    with Retriever(replace(other, near=0.9)) as retriever:
        assert QUESTIONS[0] not in {row.question for row in retriever.find(QUESTIONS[:1])[0]}
    with Retriever(replace(other, exclude_database=False)) as retriever:
        assert "zoo" in {row.db_id for row in retriever.find(QUESTIONS[:1], ["zoo"])[0]}


def test_names_with_quotes_are_values_and_no_part_of_an_expression(index: RagOptions) -> None:
    hostile = ['zoo" or database != "', "zoo' or 1 == 1 --", SCHOOL, "{x}", "\\"]
    with Retriever(replace(index, k=20, sources=[f"of {SCHOOL}"])) as retriever:
        for name in hostile:
            found = retriever.find(QUESTIONS[:1], [name])[0]
            assert {row.db_id for row in found} == (set() if name == SCHOOL else {SCHOOL})
    with Retriever(replace(index, sources=['of zoo" or origin != "'])) as retriever:
        assert retriever.find(QUESTIONS[:1]) == [[]]


def test_odd_questions(index: RagOptions) -> None:
    with Retriever(index) as retriever:
        for question in ("x" * 100_000, "how many? " * 10_000, "\0", "💥", '"); drop'):
            assert len(retriever.find([question])[0]) == index.k
        for empty in ("", " \n"):
            with pytest.raises(UserError, match="question 2 is empty"):
                retriever.find(["how many?", empty])
        assert retriever.find([]) == []


def test_at_most_so_many_of_one_form(index: RagOptions) -> None:
    with Retriever(replace(index, k=5, same_form=1, max_k=30)) as retriever:
        forms = [skeleton(row.sql) for row in retriever.find(QUESTIONS[:1])[0]]
    assert len(set(forms)) == len(forms) == 5


@pytest.mark.parametrize("by", ["question", "sql"])
def test_the_reranker_decides_the_order(index: RagOptions, base: Path, tmp_path: Path, by: str) -> None:
    model = new_reranker(str(base), "find alike", 256)
    model.save_pretrained(str(tmp_path), create_model_card=False)
    with Retriever(replace(index, reranker=str(tmp_path), rerank_by=by, k=20)) as retriever:
        found = retriever.find(QUESTIONS)
    for question, rows in zip(QUESTIONS, found, strict=True):
        scores = model.predict([(question, getattr(row, by)) for row in rows], batch_size=1)
        assert [row.score for row in rows] == pytest.approx(sorted(scores, reverse=True), abs=1e-4)
        assert len(rows) == 20


def test_the_budget_drops_the_least_relevant(index: RagOptions) -> None:
    example = Example("1", "none", QUESTIONS[0], "CREATE TABLE t (a)", "SELECT 1")
    with Retriever(index) as retriever:
        whole = retriever.references([example])[0].references
        size = tokens(reference_list(whole[:2]))
        retriever.options = replace(index, max_tokens=size)
        some = retriever.references([example])[0].references
        retriever.options = replace(index, max_tokens=1)
        assert retriever.references([example])[0].references == ()
    assert len(whole) == index.k and some == whole[: len(some)] and 2 <= len(some) < index.k


def test_references_survive_the_file_and_stand_in_the_system_turn(index: RagOptions, tmp_path: Path) -> None:
    example = Example("1", "zoo", QUESTIONS[0], "CREATE TABLE t (a)", "SELECT 1")
    with Retriever(index) as retriever:
        (shown,) = retriever.references([example])
    write_jsonl(tmp_path / "asked.jsonl", [shown, example])
    assert list(read_jsonl(tmp_path / "asked.jsonl", Example)) == [shown, example]
    plain, (system, user) = ask(example), ask(shown)
    assert user == plain[1]
    assert system["content"] == f"{plain[0]['content']}\n\n{reference_list(shown.references)}"
    assert all(f"[QUESTION]\n{row.question}\n[ANSWER]\n{row.sql}" in system["content"] for row in shown.references)


def test_masked_questions_hide_what_is_quoted_and_numbers() -> None:
    assert asked("Who's older than 30 in 'New York'?", "masked") == "Who's older than _ in _?"
    assert asked('The "A 1" of 3.5?', "question") == 'The "A 1" of 3.5?'


def test_scores_of_found_rows_are_plain_numbers(index: RagOptions) -> None:
    with Retriever(index) as retriever:
        row = retriever.find(QUESTIONS[:1])[0][0]
    assert isinstance(row, Found) and type(row.score) is float
