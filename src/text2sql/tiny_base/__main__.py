"""``python -m text2sql.tiny_base RECIPE [key=value ...]``: corpora, tokenizer and untrained model of the tiny base."""

import json
import logging
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass

from text2sql.errors import run_command
from text2sql.recipe import STRICT, load_recipe, options_from
from text2sql.records import write_jsonl
from text2sql.tiny_base.corpus import Lesson, write_corpus
from text2sql.tiny_base.random_schema import load_words
from text2sql.toy.load import load_world

logger = logging.getLogger("text2sql.tiny_base")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Corpus:
    """A file of conversations, lesson after lesson."""

    path: Path
    lessons: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Options:
    """What ``recipes/tiny/base/prepare.yaml`` may say; the tokenizer is trained on the first corpus."""

    corpora: list[dict[str, Any]]
    model: Path
    shape: dict[str, int]
    vocab_size: int = 2048
    exclude_world: Path | None = None
    seed: int = 1


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        sys.stdout.write(f"{__doc__}\n")
        return
    recipe = Path(sys.argv[1])
    options = options_from(Options, load_recipe(recipe, sys.argv[2:]), str(recipe))
    corpora = [options_from(Corpus, corpus, f"{recipe}: corpora") for corpus in options.corpora]
    words = load_words(_held_out_tables(options.exclude_world))
    pieces: tuple[str, ...] = ()
    for number, corpus in enumerate(corpora):
        lessons = [options_from(Lesson, lesson, f"{recipe}: lessons") for lesson in corpus.lessons]
        if not corpus.path.is_file():
            logger.info("writing %d conversations to %s", sum(x.conversations for x in lessons), corpus.path)
            write_jsonl(corpus.path, write_corpus(lessons, words, f"{options.seed}/{number}", pieces))
        if number == 0:
            pieces = _make_model(options, corpus.path)


def _make_model(options: Options, corpus: Path) -> tuple[str, ...]:
    """Make tokenizer and untrained model unless they are there; returns the tokenizer's lower-case pieces."""
    from text2sql.tiny_base.model import read_pieces, train_tokenizer, write_untrained  # torch takes seconds to import

    if (options.model / "config.json").is_file():
        logger.info("%s: the untrained model is there already", options.model)
    else:
        tokenizer = train_tokenizer(_texts(corpus), options.vocab_size)
        size = write_untrained(options.model, tokenizer, options.shape, options.seed)
        logger.info("wrote an untrained model of %.2fM parameters to %s", size / 1e6, options.model)
    return read_pieces(options.model)


def _texts(corpus: Path) -> Iterator[str]:
    with corpus.open(encoding="utf-8") as lines:
        for line in islice(lines, 20000):
            yield "\n".join(f"{m['role']}\n{m['content']}" for m in json.loads(line)["messages"])


def _held_out_tables(world: Path | None) -> frozenset[str]:
    if world is None:
        return frozenset()
    held_out = [spec for spec in load_world(world) if spec.split != "train"]
    return frozenset(table.name.lower() for spec in held_out for table in spec.tables)


if __name__ == "__main__":
    run_command(main)
