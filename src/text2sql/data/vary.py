"""Other renderings of the same schema, so that a model learns to read schemas instead of remembering those it has seen.

Spider has 146 training databases with fifty questions each: without variation a model sees the same few hundred texts
again in every epoch.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from random import Random

from text2sql.data.options import VaryOptions
from text2sql.schema.model import Schema, Table


def vary(
    schema: Schema, needed: Collection[tuple[str, str]], others: Sequence[Schema], options: VaryOptions, rng: Random
) -> Schema:
    """A schema with the ``needed`` columns (table, column) in other surroundings; ``others`` lend tables."""
    tables = list(schema.tables)
    used = {table for table, _ in needed}
    if rng.random() < options.leave_out:
        kept = {table.name for table in tables if table.name in used or rng.random() < 0.5}
        tables = list(schema.keep(lambda table, _: table in kept).tables) if kept else tables
    if others and rng.random() < options.add:
        tables += _lent(rng.choice(others), tables, rng)
    if rng.random() < options.reorder:
        rng.shuffle(tables)
    if rng.random() < options.reorder:
        tables = [replace(table, columns=tuple(rng.sample(table.columns, len(table.columns)))) for table in tables]
    return Schema(tuple(tables))


def _lent(other: Schema, tables: Sequence[Table], rng: Random) -> list[Table]:
    """One or two tables of another schema whose names are free, without keys to tables that stay behind."""
    taken = {table.name.lower() for table in tables}
    free = [table.name for table in other.tables if table.name.lower() not in taken]
    chosen = set(rng.sample(free, min(len(free), rng.randint(1, 2))))
    return list(other.keep(lambda table, _: table in chosen).tables)
