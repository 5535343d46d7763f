"""Grows trees level by level: the wrong attempts at all questions go to the generator together, so that it is always full.

Trees are appended to a file when all questions that grow together are done; what the generator said meanwhile stands in a
journal (:mod:`.answers`), so that a killed run goes on where it stopped.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from text2sql.artifacts import append_text, is_current, locked, read_note, remove, whole_lines, write_json, write_note
from text2sql.errors import UserError
from text2sql.evaluate.answers import check_databases
from text2sql.generate import Engine, open_engine
from text2sql.infer import read_examples
from text2sql.predictions import Shard, note_path
from text2sql.prompts import Message, ask, check_system, parse_completion, revise
from text2sql.records import Example, as_line, read_jsonl
from text2sql.tree.answers import Asker, prompt_key
from text2sql.tree.execute import Judge
from text2sql.tree.nodes import Node, Tree, measured
from text2sql.tree.options import TreeOptions

logger = logging.getLogger("text2sql.tree")


@dataclass
class _Growing:
    """A tree while it grows: its nodes, and why it could not be grown."""

    example: Example
    nodes: list[Node] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    failed: bool = False


@dataclass(frozen=True)
class Growth:
    """What a run did. ``skipped`` has reasons by question_id; ``sql_share`` is that of the wall time."""

    trees: int
    calls: int
    asked: int
    executed: int
    seconds: float
    generation_seconds: float
    sql_seconds: float
    skipped: dict[str, str]

    @property
    def sql_share(self) -> float:
        """Execution's share of the wall time."""
        return self.sql_seconds / self.seconds if self.seconds else 0.0


def build(options: TreeOptions, engine: Engine | None = None) -> Growth:
    """Grow the trees of this shard that are not written yet, with the recipe's engine or the one given.

    Raises:
        UserError: examples, model or databases are missing, or another run writes there.
    """
    examples = read_examples(options.examples, None)
    if options.limit and options.limit < len(examples):  # evenly spread, because files are sorted by database
        examples = [examples[i * len(examples) // options.limit] for i in range(options.limit)]
    check_system(options.system_prompt, options.examples)
    check_databases(options.database_root, {example.db_id for example in examples})
    shard = Shard.parse(options.shard)
    path, made_of = options.path, options.made_of() if engine is None else {"examples": str(options.examples)}
    with locked(path.with_name(f".{path.name}.lock"), f"{path}: another run grows trees there; wait, or stop it"):
        done = _written(path, made_of)
        rest = [one for one in examples[shard.index - 1 :: shard.count] if one.question_id not in done]
        if done:
            logger.info("%s: %d trees are there already, %d are left", path, len(done), len(rest))
        if not rest:
            return Growth(0, 0, 0, 0, 0.0, 0.0, 0.0, {})
        with engine or open_engine(options) as generator:
            growth = _grow_all(options, rest, generator, path)
    write_json(path.with_name(f"{path.stem}_report.json"), growth.__dict__ | {"sql_share": growth.sql_share})
    if growth.skipped:
        shown = "; ".join(f"{key}: {reason}" for key, reason in list(growth.skipped.items())[:20])
        logger.warning("%d questions have no tree: %s", len(growth.skipped), shown)
    logger.info("%d trees: %s", growth.trees, path)
    return growth


def _written(path: Path, made_of: dict[str, Any]) -> set[str]:
    """Whose trees are written; refuses a file that was made of something else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    note = note_path(path)
    if path.exists() and not is_current(note, made_of):
        before = (read_note(note) or {"made_of": {}})["made_of"]
        changed = [key for key, value in made_of.items() if before.get(key) != value]
        raise UserError(f"{path}: grown with other {', '.join(changed)}; choose another output_dir, or remove it")
    if not is_current(note, made_of):  # the journal of a run that wrote no tree may be of another model
        remove(_journal(path))
        write_note(note, made_of)
    whole_lines(path)
    return {tree.question_id for tree in read_jsonl(path, Tree)} if path.exists() else set()


def _journal(path: Path) -> Path:
    return path.with_name(f"{path.stem}_answers.jsonl")


def _grow_all(options: TreeOptions, examples: Sequence[Example], engine: Engine, path: Path) -> Growth:
    started, trees, skipped = time.monotonic(), 0, dict[str, str]()
    asker = Asker(engine, options.decoding, _journal(path), options.tries, options.pause)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    oracle = options.feedback == "oracle"
    with (
        Judge(options.database_root, options.protocol, options.jobs, options.timeout, oracle) as judge,
        Progress(TextColumn("growing"), *columns) as progress,
    ):
        task = progress.add_task("growing", total=len(examples))
        for start in range(0, len(examples), options.questions_at_once):
            part = examples[start : start + options.questions_at_once]
            refused = judge.refused(part)
            skipped |= {key: f"its gold does not run ({reason})" for key, reason in refused.items()}
            grown = grow([one for one in part if one.question_id not in refused], asker, judge, options)
            whole = [tree for tree in grown if not tree.failed]
            failed = [tree for tree in grown if tree.failed]
            skipped |= {tree.example.question_id: "the generator gave no answer" for tree in failed}
            append_text(path, "".join(as_line(Tree(t.example, measured(t.nodes)).as_row()) for t in whole))
            asker.forget(keep={key for tree in failed for key in tree.asked})
            judge.forget()
            trees += len(whole)
            progress.advance(task, len(part))
    seconds = time.monotonic() - started
    times = (round(seconds, 3), round(asker.seconds, 3), round(judge.seconds, 3))
    return Growth(trees, asker.calls, asker.asked, judge.executed, *times, skipped)


def grow(examples: Sequence[Example], asker: Asker, judge: Judge, options: TreeOptions) -> list[_Growing]:
    """Grow the trees of these questions together: one call of the generator for each level."""
    trees = [_Growing(example) for example in examples]
    parents: list[tuple[_Growing, Node | None]] = [(tree, None) for tree in trees]
    for depth in range(options.max_depth + 1):
        n = options.sample_num if depth else options.root_num
        told = [_prompt(tree.example, node, options) for tree, node in parents]
        keys = [prompt_key(messages, n) for messages in told]
        answers = asker.ask(dict(zip(keys, told, strict=True)), n)
        attempts: list[tuple[_Growing, Node | None, str, list[str]]] = []
        for (tree, parent), key in zip(parents, keys, strict=True):
            tree.asked.add(key)
            tree.failed = tree.failed or key not in answers
            attempts += [(tree, parent, sql, texts) for sql, texts in _distinct(answers.get(key, [])).items()]
        parents = [(tree, node) for tree, node in _added(attempts, judge) if not node.correct]
        parents = [(tree, node) for tree, node in parents if not tree.failed]
    return trees


def _prompt(example: Example, node: Node | None, options: TreeOptions) -> list[Message]:
    how = (options.answer_format, options.system_prompt)
    return ask(example, *how) if node is None else revise(example, node.sql, node.feedback, *how)


def _distinct(texts: Sequence[str]) -> dict[str, list[str]]:
    """The completions by their SQL; empty ones are no attempts."""
    found: dict[str, list[str]] = {}
    for text in filter(str.strip, texts):
        found.setdefault(parse_completion(text), []).append(text)
    return found


def _added(
    attempts: Sequence[tuple[_Growing, Node | None, str, list[str]]], judge: Judge
) -> list[tuple[_Growing, Node]]:
    """The attempts as nodes, executed and put into their trees."""
    found = judge.judge([(tree.example, sql) for tree, _, sql, _ in attempts])
    nodes, places = [], dict[tuple[int, str], int]()
    for (tree, parent, sql, texts), judged in zip(attempts, found, strict=True):
        above = parent.id if parent else ""
        place = places.setdefault((id(tree), above), 0)
        places[id(tree), above] += 1
        name = f"{above}.{place}" if above else str(place)
        depth = parent.depth + 1 if parent else 0
        node = Node(name, above or None, depth, sql, texts[0], len(texts), **judged.__dict__)
        tree.nodes.append(node)
        nodes.append((tree, node))
    return nodes
