"""An index of a database's text values, by their words, built once and kept on disk.

A question says "french singers" where the database has ``'France'``, or "Carolina, North" for ``'NorthCarolina'``. Asking
the database itself would scan every column for every question, so the distinct values are written to a SQLite file of our
own: values by their words in order of the alphabet, words by the values that hold them (FTS5), and words by their
trigrams for other spellings.
"""

import hashlib
import logging
import os
import re
import sqlite3
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

from text2sql.artifacts import whole_path
from text2sql.errors import UserError
from text2sql.schema import open_readonly, quote, read_schema

logger = logging.getLogger(__name__)

LONGEST = 100
"""Characters of the longest value that is indexed: nobody asks for a longer one by its words."""

_VERSION = 1
_SMALL = 200_000  # values, up to which all words with the same two letters in front are looked through
_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(f"[{_CJK}]|[^\\W_{_CJK}]+")
_TABLES = """
CREATE TABLE source (version INTEGER, size INTEGER, changed INTEGER);
CREATE TABLE place (id INTEGER PRIMARY KEY, table_name TEXT, column_name TEXT);
CREATE TABLE value (id INTEGER PRIMARY KEY, place INTEGER, text TEXT, words TEXT);
CREATE VIRTUAL TABLE word USING fts5(words, content='', detail=none, columnsize=0, tokenize='ascii');
CREATE VIRTUAL TABLE vocabulary USING fts5vocab(word, 'row');
CREATE VIRTUAL TABLE spelling USING fts5(word, detail=none, columnsize=0, tokenize='trigram case_sensitive 1');
"""


def words_of(text: str) -> list[str]:
    """Words in lower case without accents; each Chinese, Japanese or Korean character is one."""
    folded = unicodedata.normalize("NFKD", text).casefold() if not text.isascii() else text.lower()
    plain = folded if folded.isascii() else "".join(c for c in folded if not unicodedata.combining(c))
    return _WORD.findall(plain)


def sorted_words(words: Iterable[str]) -> str:
    """The key under which a value is found in whatever order its words stand."""
    return " ".join(sorted(words))


def default_folder() -> Path:
    """Where indexes are kept: ``text2sql/values`` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "text2sql/values"


class Index:
    """An open index. ``count`` is the number of its values, ``file`` the index itself."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._connection = sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
        self.count: int = self._ask("SELECT count(*) FROM value")[0][0]
        self.places: dict[int, tuple[str, str]] = {
            place: (table, column) for place, table, column in self._ask("SELECT * FROM place")
        }
        names = (name for place in self.places.values() for name in place)
        self.schema_words = frozenset(word for name in names for word in words_of(name.replace("_", " ")))
        self.frequency = lru_cache(1 << 16)(self._frequency)
        self.spelled_like = lru_cache(1 << 16)(self._spelled_like)

    def with_words(self, words: Iterable[str], most: int) -> list[tuple[int, int, str]]:
        """At most ``most`` values (id, place, text) that consist of exactly these words, in any order."""
        return self._ask("SELECT id, place, text FROM value WHERE words = ? LIMIT ?", sorted_words(words), most)

    def with_word(self, word: str, most: int) -> list[tuple[int, int, str]]:
        """At most ``most`` values (id, place, text) that hold a word."""
        match = "SELECT rowid FROM word WHERE word MATCH ? LIMIT ?"
        return self._ask(f"SELECT id, place, text FROM value WHERE id IN ({match})", f'"{word}"', most)

    def _frequency(self, word: str) -> int:
        """The number of values that hold a word."""
        found = self._ask("SELECT doc FROM vocabulary WHERE term = ?", word)
        return int(found[0][0]) if found else 0

    def _spelled_like(self, word: str) -> tuple[str, ...]:
        """Indexed words that begin like a word, or share a third of its trigrams; at most some hundred of each."""
        start = word[: 2 if self.count < _SMALL else 4]
        end = start[:-1] + chr(ord(start[-1]) + 1)
        within = "SELECT term FROM vocabulary WHERE term >= ? AND term < ? AND length(term) BETWEEN ? AND ? LIMIT 1000"
        begin = self._ask(within, start, end, len(word) - 3, len(word) + 3)
        grams = list(dict.fromkeys(word[i : i + 3] for i in range(len(word) - 2)))
        either = " OR ".join(f'"{gram}"' for gram in grams)
        rows = self._ask("SELECT word FROM spelling WHERE spelling MATCH ? LIMIT 1000", either) if grams else []
        shared = [text for (text,) in rows if 3 * sum(gram in text for gram in grams) >= len(grams)]
        return tuple(dict.fromkeys([*shared, *(text for (text,) in begin)]))

    def _ask(self, query: str, *values: object) -> list[Any]:
        return self._connection.execute(query, values).fetchall()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def open_index(database: Path, folder: Path | None = None) -> Index:
    """The index of a SQLite database, built where there is none or the database has changed since.

    Raises:
        UserError: the database is missing or damaged, or the index cannot be written.
    """
    name = hashlib.sha256(str(database.resolve()).encode()).hexdigest()[:16]
    file = (folder or default_folder()) / f"{database.stem}-{name}.sqlite"
    try:
        state = database.stat()
    except OSError as error:
        raise UserError(f"{database}: no such database file") from error
    stamp = (_VERSION, state.st_size, state.st_mtime_ns)
    found = _stamp(file)
    if found != stamp:
        if found is not None:
            logger.info("%s has changed; its index of values is built again", database)
        try:
            with whole_path(file) as partial:
                _build(database, partial, stamp)
        except (OSError, sqlite3.DatabaseError) as error:
            raise UserError(f"{database}: its values cannot be indexed in {file.parent} ({error})") from error
    return Index(file)


def _stamp(file: Path) -> tuple[int, int, int] | None:
    if not file.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            found: tuple[int, int, int] | None = connection.execute("SELECT * FROM source").fetchone()
            return found
    except sqlite3.DatabaseError:
        return None


def _build(database: Path, file: Path, stamp: tuple[int, int, int]) -> None:
    with closing(sqlite3.connect(file)) as index, closing(open_readonly(database)) as source:
        index.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + _TABLES)
        number = 0
        for place, (table, column) in enumerate(_text_columns(source)):
            index.execute("INSERT INTO place VALUES (?, ?, ?)", (place, table, column))
            for batch in _batches(source, table, column):
                known = [(text, words_of(text)) for text in batch]
                rows = [(number + i, place, text, sorted_words(w)) for i, (text, w) in enumerate(known)]
                index.executemany("INSERT INTO value VALUES (?, ?, ?, ?)", rows)
                index.executemany("INSERT INTO word (rowid, words) VALUES (?, ?)", ((r[0], r[3]) for r in rows))
                number += len(rows)
        index.execute("CREATE INDEX by_words ON value (words)")
        index.execute(
            "INSERT INTO spelling SELECT term FROM vocabulary WHERE length(term) > 3 AND term GLOB '*[^0-9]*'"
        )
        index.execute("INSERT INTO source VALUES (?, ?, ?)", stamp)
        index.commit()


def _text_columns(source: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    for table in read_schema(source).tables:
        for column in table.columns:
            yield table.name, column.name


def _batches(source: sqlite3.Connection, table: str, column: str) -> Iterator[list[str]]:
    """Distinct texts of a column; blobs, numbers, and texts that are long or have several lines are left out."""
    name = quote(column)
    query = f"SELECT DISTINCT {name} FROM {quote(table)} WHERE typeof({name}) = 'text' AND length({name}) <= {LONGEST}"
    rows = source.execute(query)
    while batch := rows.fetchmany(10_000):
        yield [text for (text,) in batch if text.strip() and "\n" not in text]
