"""Quoting of names in SQL that we write ourselves."""


def quoted(name: str) -> str:
    """A name as SQLite's double-quoted identifier."""
    return '"' + name.replace('"', '""') + '"'
