"""Write questions with SQL that runs, about a database of the user's own."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from text2sql.errors import UserError, run_command
from text2sql.prompts import gold_answer
from text2sql.recipe.command import single
from text2sql.records import TracedExample, write_jsonl
from text2sql.sql import find_issues
from text2sql.synth.own import write_for_database


def synth(
    db: Annotated[Path, typer.Option(help="The SQLite file to ask about.")],
    count: Annotated[int, typer.Option("--count", "-n", help="How many questions.")] = 1000,
    out: Annotated[Path | None, typer.Option(help="Default: data/synth/<name of the database>.jsonl")] = None,
    language: Annotated[str, typer.Option(help="en, zh, or both: en,zh")] = "en",
    register: Annotated[str, typer.Option(help="natural, or heldout: phrasings to test with")] = "natural",
    patterns: Annotated[
        Literal["all", "core"], typer.Option(help="core: those of the toy databases, without balanced hardness.")
    ] = "all",
    reasoning: Annotated[bool, typer.Option(help="Add the reasoning in steps and the type of task.")] = False,
    form: Annotated[
        Literal["examples", "coldstart"], typer.Option(help="coldstart: query, response, type for process rewards.")
    ] = "examples",
    paraphrase_url: Annotated[str | None, typer.Option(help="An OpenAI-compatible server that paraphrases.")] = None,
    model: Annotated[str, typer.Option(help="The served model's name, where there are several.")] = "",
    back_check: Annotated[bool, typer.Option(help="Refuse a paraphrase if its SQL gives another result.")] = True,
    seed: int = 42,
) -> None:
    """Write question-SQL pairs about a SQLite database: every SQL ran and gave a result, all four levels of hardness."""
    if count < 1:
        raise UserError(f"--count is 1 or more, not {count}")
    target = out or Path("data/synth") / f"{db.stem}.jsonl"
    languages = tuple(language.split(","))
    reasoning = reasoning or form == "coldstart"
    made = write_for_database(db, count, seed, languages, register, reasoning, patterns == "core")
    examples = made.examples
    if paraphrase_url:
        examples = examples + _reworded(examples, db, paraphrase_url, model, target, back_check)
    write_jsonl(target, examples if form == "examples" else (cold_start(example) for example in examples))
    console = Console()
    levels = ", ".join(f"{level} {number}" for level, number in made.levels.items())
    console.print(f"{target}: {len(examples)} questions about {db} ({levels})", soft_wrap=True)
    if made.note:
        console.print(f"note: {made.note}", soft_wrap=True)


def cold_start(example: TracedExample) -> dict[str, Any]:
    """The process reward's row: ``query``, ``response`` with thinking and answer, ``type``, and its database."""
    issues = ", ".join(issue.name for issue in find_issues(example.sql, example.question, example.schema)) or "none"
    response = gold_answer(example.sql, "process", example.reasoning, example.kind, issues)
    about = {"db_id": example.db_id, "schema": example.schema}
    return {"query": example.question, "response": response, "type": example.kind, **about}


def _reworded(
    examples: list[TracedExample], db: Path, url: str, model: str, target: Path, check: bool
) -> list[TracedExample]:
    from text2sql.generate import EngineSettings
    from text2sql.synth.paraphrase import paraphrase

    settings = EngineSettings(model, engine="openai", base_urls=(url,))
    judged = paraphrase(examples, db, settings, target.with_suffix(".paraphrases.jsonl"), check)
    refused = [{**example.columns, "reason": reason} for example, reason in judged if reason]
    path = target.with_suffix(".refused.jsonl")
    write_jsonl(path, refused)
    Console().print(f"{path}: {len(refused)} of {len(judged)} paraphrases refused", soft_wrap=True)
    known = {example.question.casefold() for example in examples}
    new: dict[str, TracedExample] = {}
    for example in (example for example, reason in judged if not reason):
        new.setdefault(example.question.casefold(), example)
    return [
        replace(example, question_id=f"{example.question_id}-p", source=f"{example.source}/paraphrase")
        for question, example in new.items()
        if question not in known
    ]


if __name__ == "__main__":
    run_command(single(synth))
