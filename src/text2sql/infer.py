"""Answer a file of questions with a model, and write a file of predictions.

Predictions are appended as they come, a question's samples in one write, so a killed run continues where it stopped. A
note beside them says which model and settings made them. When either changes, the old file is renamed and the run starts
again, because a file that mixes two models measures neither.
"""

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import field, fields
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn, track

from sqleval.files import database_path
from text2sql.artifacts import digest, digest_of
from text2sql.checkpoint.model import fingerprint
from text2sql.errors import UserError, run_command
from text2sql.generate import Decoding, Engine, EngineSettings, Request, check_engine, open_engine
from text2sql.generate.types import Completion
from text2sql.predictions import PredictionFile, Shard
from text2sql.prompts import AnswerFormat, ask, build_messages, check_system, parse_completion
from text2sql.recipe import STRICT, load_recipe, options_from
from text2sql.recipe.command import Overrides, RecipePath, single
from text2sql.records import Example, Prediction, read_jsonl
from text2sql.repair import database_schema, repaired

logger = logging.getLogger("text2sql.infer")
Opener = Callable[[EngineSettings], AbstractContextManager[Engine]]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class InferOptions(Decoding, EngineSettings):
    """Keys of an inference recipe: those of :class:`Decoding` and :class:`EngineSettings`, and more.

    ``answer_format`` and ``system_prompt`` are those of the model's training (see :mod:`text2sql.prompts`);
    ``limit`` takes the first examples only; ``shard: i/n`` every n-th from the i-th (1 to n), for n machines or
    processes, and the last to finish joins the parts in ``output``; ``overwrite`` starts again and keeps nothing.
    ``repair`` repairs the SQL by the databases in ``database_root`` (:mod:`text2sql.repair`); the raw SQL is kept beside.
    ``issues``: modules with issues of your own, which the process format's prompt then names. ``references``: a retrieval
    recipe, whose examples every prompt then shows, in place of those in the file (:mod:`text2sql.rag`).
    """

    examples: Path
    output: Path
    answer_format: AnswerFormat = "plain"
    system_prompt: str | None = None
    issues: list[str] = field(default_factory=list)
    references: Path | None = None
    limit: int | None = None
    shard: str = "1/1"
    overwrite: bool = False
    repair: bool = False
    database_root: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.repair and self.database_root is None:
            raise ValueError("repair needs database_root")


def infer(options: InferOptions, opened: Opener | None = None) -> Path:
    """Answer every example of this shard that has no prediction yet; returns the predictions' path.

    ``opened`` gives the engine (None: a new one), and is asked only when there is something to answer.

    Raises:
        UserError: examples, model, adapter, engine or databases are missing or do not fit together.
    """
    if options.issues:
        from text2sql.sql import load_issues  # needs sqlglot, which answering does not

        load_issues(options.issues)
    shard = Shard.parse(options.shard)
    examples = read_examples(options.examples, options.limit)
    check_system(options.system_prompt, options.examples)
    mine = examples[shard.index - 1 :: shard.count]
    if options.repair and options.database_root:
        for db_id in {example.db_id for example in examples}:
            database_schema(database_path(options.database_root, db_id))
    file = PredictionFile(shard.path(options.output), provenance(options), options.n)
    with file.claim():
        _complete(options, mine, file, opened or open_engine)
    joined = shard.join(options.output, [example.question_id for example in examples])
    logger.info("predictions: %s", options.output if joined else file.path)
    return options.output if joined else file.path


def _complete(options: InferOptions, examples: list[Example], file: PredictionFile, opened: Opener) -> None:
    """Answer the examples that ``file`` has no predictions for."""
    done = file.open(keep=not options.overwrite)
    rest = [example for example in examples if example.question_id not in done]
    if done:
        logger.info("%s: %d of %d questions are answered already", file.path, len(examples) - len(rest), len(examples))
    if rest:
        known = {example.question_id: example for example in _with_references(rest, options.references)}
        requests = [Request(key, ask(e, options.answer_format, options.system_prompt)) for key, e in known.items()]
        started = time.monotonic()
        with opened(options) as engine:
            loaded = time.monotonic()
            root = options.database_root if options.repair else None
            finished = _collect(engine.generate(requests, options), known, file, root)
        _report(finished, options.n, time.monotonic() - loaded, loaded - started, engine.name)
    file.finish([example.question_id for example in examples])


def _with_references(examples: list[Example], recipe: Path | None) -> list[Example]:
    """The examples with the references that a retrieval recipe finds for them."""
    if recipe is None:
        return examples
    from text2sql.rag.search import add_references, open_retriever  # Milvus takes seconds to import

    with open_retriever(recipe) as retriever:
        return list(track(add_references(retriever, examples), "retrieving", total=len(examples)))


def _retrieval(recipe: Path | None) -> dict[str, str]:
    """What decides the references, for the predictions' note."""
    if recipe is None:
        return {}
    from text2sql.rag.search import open_retriever

    with open_retriever(recipe) as retriever:
        return {"references": retriever.provenance}


def read_examples(path: Path, limit: int | None) -> list[Example]:
    """The first ``limit`` examples of a file.

    Raises:
        UserError: no such file, no examples in it, or two with the same question_id.
    """
    examples = list(read_jsonl(path, Example))[:limit]
    if not examples:
        raise UserError(f"{path}: no examples in it")
    seen: set[str] = set()
    for example in examples:
        if example.question_id in seen:
            raise UserError(
                f"{path}: question_id {example.question_id!r} occurs twice; predictions could not be told apart"
            )
        seen.add(example.question_id)
    return examples


def provenance(options: InferOptions) -> dict[str, Any]:
    """What decides the predictions' content: model, adapter, examples and settings, but not what only changes speed.

    Raises:
        UserError: model, adapter or engine are missing or do not fit together.
    """
    model, adapter, remote = options.model_name_or_path, options.adapter_name_or_path, options.engine == "openai"
    engine = check_engine(options)
    return {
        "model": model if remote else fingerprint(Path(model)),
        "adapter": fingerprint(adapter) if adapter and not remote else None,
        "examples": digest(options.examples),
        "engine": engine,
        **{key: getattr(options, key) for key in ("enable_thinking", "dtype", "max_model_len")},
        "decoding": {field.name: getattr(options, field.name) for field in fields(Decoding)},
        "decoding_words": options.words,
        **({"repair": True} if options.repair else {}),
        **_retrieval(options.references),
        "prompt": digest_of(
            build_messages("question", "schema", "evidence", options.answer_format, options.system_prompt)
        ),
    }


def _collect(
    completions: Iterable[Completion], examples: dict[str, Example], file: PredictionFile, repair_on: Path | None
) -> list[Completion]:
    """Write each question's samples when they are complete, and show progress; ``repair_on`` holds the databases."""
    finished: list[Completion] = []
    samples: list[Prediction] = []
    rate = TextColumn("{task.fields[rate]} questions/s")
    columns = (TextColumn("answering"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    started = time.monotonic()
    with Progress(*columns) as progress:
        task = progress.add_task("answering", total=len(examples), rate="-")
        for completion in completions:
            finished.append(completion)
            example = examples[completion.key]
            pred = parse_completion(completion.text)
            row = Prediction(completion.key, example.db_id, pred, completion.text, completion.sample)
            samples.append(repaired(row, repair_on) if repair_on else row)
            if len(samples) == file.n:
                file.append(samples)
                samples = []
                speed = len(finished) / file.n / max(time.monotonic() - started, 1e-9)
                progress.update(task, advance=1, rate=f"{speed:.1f}")
    return finished


def _report(finished: list[Completion], n: int, seconds: float, loading: float, engine: str) -> None:
    questions = len(finished) // n
    new = sum(completion.completion_tokens for completion in finished) / seconds
    read = sum(completion.prompt_tokens for completion in finished) / n / seconds
    cut = sum(completion.finish_reason == "length" for completion in finished)
    speed = f"{questions / seconds:.1f} questions/s, {new:.0f} generated tokens/s, {read:.0f} prompt tokens/s"
    logger.info("%s: %d questions in %.1f s (%s; loading took %.1f s)", engine, questions, seconds, speed, loading)
    if cut:
        logger.warning("%d of %d answers were cut at max_new_tokens", cut, len(finished))


def main(recipe: RecipePath, overrides: Overrides = None) -> None:
    """Answer a file of questions with a model and write its predictions; a stopped run continues where it was."""
    infer(options_from(InferOptions, load_recipe(recipe, overrides or []), str(recipe)))


if __name__ == "__main__":
    run_command(single(main))
