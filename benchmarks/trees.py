"""What growing trees of many questions together saves: calls of the generator, and the time that running SQL takes.

``python benchmarks/trees.py`` grows trees of toy training questions together with the tiny base, greedily, level by level; then
once more one question at a time with the answers that the first run got, so that both grow the same trees. ``ratio`` is the
calls of the second run over those of the first, ``sql_share`` the share of the first run's wall time that executing took.
``--ledger`` appends the row bench.trees. The toy data must be prepared (bash scripts/prepare_data.sh recipes/data/toy.yaml).
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from frame import ROOT, ToLedger, record, run, say, show

from text2sql.artifacts import digest
from text2sql.errors import UserError
from text2sql.generate import Completion, Decoding, Engine, Request, open_engine
from text2sql.recipe import load_recipe, options_from
from text2sql.tree.grow import build
from text2sql.tree.options import TreeOptions

GREEDY = ("temperature=0", "root_num=1", "sample_num=1", "max_depth=1", "max_new_tokens=64")
"""One attempt and one revision; more samples and levels save the same and take longer."""


class Recording(Engine):
    """Another engine, whose completions are kept."""

    name = "recording"

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.kept: dict[str, list[Completion]] = {}

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Completion]:
        """Pass completions on."""
        for found in self._engine.generate(requests, decoding):
            self.kept.setdefault(found.key, []).append(found)
            yield found

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()


class Replaying(Engine):
    """Gives recorded completions again."""

    name = "replaying"

    def __init__(self, kept: dict[str, list[Completion]]) -> None:
        self._kept = kept

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Completion]:
        """The recorded completions of each request."""
        for request in requests:
            yield from self._kept[request.key]

    def close(self) -> None:
        """Nothing is held."""


def main(
    questions: Annotated[int, typer.Option(help="How many grow together.")] = 200,
    model: Annotated[Path, typer.Option(help="The generator.")] = Path("models/tiny-base"),
    ledger: ToLedger = False,
) -> None:
    """Grow twice, print, and append the row."""
    folder = Path(tempfile.mkdtemp())
    try:
        keys = [f"model_name_or_path={model}", f"limit={questions}", f"questions_at_once={questions}", *GREEDY]
        recipe = load_recipe(ROOT / "recipes/tiny/tree.yaml", [*keys, f"output_dir={folder / 'together'}"])
        options = options_from(TreeOptions, recipe, "recipes/tiny/tree.yaml")
        if not options.examples.is_file():
            raise UserError("prepare the toy data first: bash scripts/prepare_data.sh recipes/data/toy.yaml")
        engine = Recording(open_engine(options))
        together = build(options, engine)
        apart = replace(options, questions_at_once=1, output_dir=folder / "apart")
        single = build(apart, Replaying(engine.kept))
        if sorted(options.path.read_bytes().splitlines()) != sorted(apart.path.read_bytes().splitlines()):
            raise UserError("the two runs grew different trees")
    finally:
        shutil.rmtree(folder)
    say(f"{together.seconds:.0f} s, {together.sql_seconds:.2f} s of them SQL ({together.sql_share:.2%})")
    rows = [[name, str(one.calls), str(one.asked)] for name, one in (("together", together), ("one by one", single))]
    show(f"{questions} questions", ("calls", "prompts"), rows)
    if ledger:
        metrics = {
            "ratio": round(single.calls / together.calls, 2),
            "calls": together.calls,
            "calls_one_by_one": single.calls,
            "prompts": together.asked,
            "sql_share": round(together.sql_share, 6),
            "sql_seconds": together.sql_seconds,
        }
        more = {"protocol": options.protocol, "decoding": options.words, "seconds": together.seconds}
        record("bench.trees", metrics, split="train", n=questions, data_hash=digest(options.examples), **more)


if __name__ == "__main__":
    run(main, __doc__)
