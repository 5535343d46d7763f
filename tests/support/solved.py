"""Solved examples of three databases, five forms of queries each."""

from support.tiny_model import SCHEMA
from text2sql.records import Example

FORMS = [
    ("How many {} are there?", "SELECT count(*) FROM {}"),
    ("List the names of all {}.", "SELECT name FROM {}"),
    ("Which {} is the oldest?", "SELECT name FROM {} ORDER BY age DESC LIMIT 1"),
    ("What is the average age of {} in each city?", "SELECT city, avg(age) FROM {} GROUP BY city"),
    ("Show {} older than 30.", "SELECT * FROM {} WHERE age > 30"),
]
THINGS = {"zoo": ["animals", "keepers"], 'it\'s a "school"': ["pupils", "teachers"], "shop": ["clients", "sellers"]}


def solved() -> list[Example]:
    """Thirty examples."""
    return [
        Example(f"{db}-{thing}-{number}", db, asked.format(thing), SCHEMA, sql.format(thing), source=f"of {db}")
        for db, things in THINGS.items()
        for thing in things
        for number, (asked, sql) in enumerate(FORMS)
    ]
