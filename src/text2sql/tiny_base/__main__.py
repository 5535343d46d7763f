"""Make the tiny base: its corpora, tokenizer and untrained model, and the folder that is shipped."""

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from text2sql.artifacts import digest, is_current, write_note
from text2sql.checkpoint.model import check_model
from text2sql.errors import run_command
from text2sql.recipe import load_recipe, options_from
from text2sql.recipe.command import Overrides, RecipePath, group
from text2sql.records import write_jsonl
from text2sql.tiny_base.corpus import load_words, write_corpus
from text2sql.tiny_base.options import Options
from text2sql.toy.spec import load_specs

logger = logging.getLogger("text2sql.tiny_base")
app = group("Make the tiny base model of the CPU profile.")


@app.command(no_args_is_help=True)
def prepare(recipe: RecipePath, overrides: Overrides = None) -> None:
    """Write the corpora, the tokenizer and the untrained model; those that the same recipe made before are kept."""
    options = options_from(Options, load_recipe(recipe, overrides or []), str(recipe))
    specs = load_specs(options.toy_databases) if options.toy_databases else []
    words = load_words(frozenset(t.name.lower() for spec in specs if spec.split != "train" for t in spec.tables))
    pieces: tuple[str, ...] = ()
    for number, corpus in enumerate(options.corpora):
        seed = f"{options.seed}/{number}"
        note = corpus.path.with_name(f"{corpus.path.name}.meta.json")
        made_of = {"lessons": list(map(asdict, corpus.lessons)), "seed": seed, "words": words, "pieces": pieces}
        if not (corpus.path.is_file() and is_current(note, made_of)):
            conversations = sum(lesson.conversations for lesson in corpus.lessons)
            logger.info("writing %d conversations to %s", conversations, corpus.path)
            write_jsonl(corpus.path, write_corpus(corpus.lessons, words, seed, pieces))
            write_note(note, made_of)
        if number == 0:
            pieces = _make_model(options, corpus.path)


def _make_model(options: Options, corpus: Path) -> tuple[str, ...]:
    """Make tokenizer and untrained model unless they exist; returns the tokenizer's lower-case pieces."""
    from text2sql.tiny_base.model import read_pieces, train_tokenizer, write_untrained  # torch takes seconds to import

    made_of = {key: getattr(options, key) for key in ("vocab_size", "shape", "seed")} | {"corpus": digest(corpus)}
    if is_current(options.model / "made_of.json", made_of):
        logger.info("%s: the untrained model exists already", options.model)
    else:
        tokenizer = train_tokenizer(_texts(corpus), options.vocab_size)
        size = write_untrained(options.model, tokenizer, options.shape, options.seed)
        write_note(options.model / "made_of.json", made_of)
        logger.info("wrote an untrained model of %.2fM parameters to %s", size / 1e6, options.model)
    return read_pieces(options.model)


def _texts(corpus: Path) -> Iterator[str]:
    with corpus.open(encoding="utf-8") as lines:
        for line in islice(lines, 20000):
            yield "\n".join(f"{m['role']}\n{m['content']}" for m in json.loads(line)["messages"])


@app.command(no_args_is_help=True)
def ship(
    checkpoint: Annotated[Path, typer.Argument(help="The trained tiny base.")],
    folder: Annotated[Path, typer.Argument(help="Where to write; a README.md in it stays.")],
) -> None:
    """Write a trained tiny base in bfloat16, which has half the bytes of float32, with greedy decoding as its default."""
    check_model(checkpoint)
    from text2sql.tiny_base.model import write_shipped

    logger.info("%s: %.1f MB", folder, write_shipped(checkpoint, folder) / 1e6)


if __name__ == "__main__":
    run_command(app)
