"""``python -m text2sql.tiny RECIPE [key=value ...]``: corpus, tokenizer and untrained model of the tiny base."""

import json
import logging
import sys
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from text2sql.errors import run_command
from text2sql.recipe import load_recipe, options_from
from text2sql.records import write_jsonl
from text2sql.tiny.corpus import Lesson, write_corpus
from text2sql.tiny.random_schema import load_words
from text2sql.world.load import load_world

logger = logging.getLogger("text2sql.tiny")


@dataclass(frozen=True)
class Options:
    """What ``recipes/tiny/base/prepare.yaml`` may say."""

    lessons: list[dict]  # type: ignore[type-arg]
    corpus: Path
    final_lessons: list[dict]  # type: ignore[type-arg]
    final_corpus: Path
    eval_corpus: Path
    model: Path
    shape: dict  # type: ignore[type-arg]
    vocab_size: int = 2048
    eval_conversations: int = 200
    tokenizer_conversations: int = 20000
    exclude_world: Path | None = None
    seed: int = 1


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        sys.stdout.write(f"{__doc__}\n")
        return
    recipe = Path(sys.argv[1])
    options = options_from(Options, load_recipe(recipe, sys.argv[2:]), str(recipe))
    words = load_words(_held_out_tables(options.exclude_world))
    first = [options_from(Lesson, lesson, f"{recipe}: lessons") for lesson in options.lessons]
    final = [options_from(Lesson, lesson, f"{recipe}: final_lessons") for lesson in options.final_lessons]
    check = [replace(final[-1], conversations=options.eval_conversations)]
    corpora = ((options.corpus, first, 0), (options.final_corpus, final, 1), (options.eval_corpus, check, 2))
    for path, lessons, number in corpora:
        if not path.is_file():
            logger.info("writing %d conversations to %s", sum(lesson.conversations for lesson in lessons), path)
            write_jsonl(path, write_corpus(lessons, words, f"{options.seed}/{number}"))
    if (options.model / "config.json").is_file():
        logger.info("%s: the untrained model is there already", options.model)
        return
    _make_model(options)


def _make_model(options: Options) -> None:
    from text2sql.tiny.model import train_tokenizer, write_untrained  # torch takes seconds to import

    with options.corpus.open(encoding="utf-8") as lines:
        rows: list[Any] = [json.loads(line) for line in islice(lines, options.tokenizer_conversations)]
    texts = ("\n".join(f"{m['role']}\n{m['content']}" for m in row["messages"]) for row in rows)
    tokenizer = train_tokenizer(texts, options.vocab_size)
    size = write_untrained(options.model, tokenizer, options.shape, options.seed)
    logger.info(
        "wrote an untrained model of %.2fM parameters, vocabulary %d, to %s", size / 1e6, len(tokenizer), options.model
    )


def _held_out_tables(world: Path | None) -> frozenset[str]:
    if world is None:
        return frozenset()
    held_out = [spec for spec in load_world(world) if spec.split != "train"]
    return frozenset(table.name.lower() for spec in held_out for table in spec.tables)


if __name__ == "__main__":
    run_command(main)
