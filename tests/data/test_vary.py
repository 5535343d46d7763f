"""Variations keep what the answer needs, and differ otherwise."""

from random import Random

from text2sql.data.vary import VaryOptions, vary
from text2sql.schema import Schema, render_ddl, schema_from_ddl

SCHEMA = schema_from_ddl(
    "CREATE TABLE shop (id INTEGER PRIMARY KEY, name TEXT, city TEXT);"
    "CREATE TABLE sale (id INTEGER PRIMARY KEY, shop_id INTEGER REFERENCES shop(id), price REAL);"
    "CREATE TABLE staff (id INTEGER PRIMARY KEY, shop_id INTEGER REFERENCES shop(id));"
)
OTHER = schema_from_ddl("CREATE TABLE bird (id INTEGER, nest INTEGER); CREATE TABLE Shop (x); CREATE TABLE nest (y);")
NEEDED = {("shop", "name"), ("sale", "price")}
ALWAYS = VaryOptions(reorder=1, leave_out=1, add=1)
NEVER = VaryOptions(reorder=0, leave_out=0, add=0)


def made(options: VaryOptions, seed: int) -> Schema:
    return vary(SCHEMA, NEEDED, [OTHER], options, Random(seed))


def test_needed_columns_stay_and_the_text_can_be_built() -> None:
    for seed in range(50):
        schema = made(ALWAYS, seed)
        assert {(table.name, column.name) for table in schema.tables for column in table.columns} >= NEEDED
        names = [table.name for table in schema.tables]
        assert len({name.lower() for name in names}) == len(names)
        assert {table.name for table in schema_from_ddl(render_ddl(schema)).tables} == set(names)
        for table in schema.tables:
            assert all(key.ref_table in names for key in table.foreign_keys)


def test_each_change_happens() -> None:
    schemas = [made(ALWAYS, seed) for seed in range(50)]
    names = [[table.name for table in schema.tables] for schema in schemas]
    assert any("staff" in found for found in names)
    assert any("staff" not in found for found in names)
    assert all({"bird", "nest"} & set(found) for found in names)
    assert len({render_ddl(schema) for schema in schemas}) > 40


def test_the_same_seed_gives_the_same_schema_and_no_chance_no_change() -> None:
    assert made(ALWAYS, 7) == made(ALWAYS, 7)
    assert made(NEVER, 7) == SCHEMA
