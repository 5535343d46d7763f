"""Open databases, cached golds and a judge: everything one process needs to give verdicts on a folder of databases."""

import sqlite3
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from sqleval.cache import GoldCache, gold_key
from sqleval.outcome import ErrorClass, Outcome, Rows
from sqleval.protocol import Protocol
from sqleval.sandbox import Connection, Limits, side_files
from sqleval.score import Instance, Judge
from sqleval.score import instances as find_instances
from sqleval.verdict import Verdict

_MOST_OPEN_FILES = 200


class Session:
    """Gives verdicts one at a time, with databases kept open between them."""

    def __init__(
        self,
        folder: Path,
        protocol: Protocol,
        limits: Limits,
        cache: Path | None,
        announce: Callable[[float], None] | None = None,
        overlaps: bool = False,
    ) -> None:
        self.folder = folder
        self.protocol = protocol
        self.limits = limits
        self.cache = GoldCache(cache)
        self.judge = Judge(protocol, limits, announce, overlaps)
        self._checked: set[str] = set()
        self._open: OrderedDict[str, tuple[object, list[Instance]]] = OrderedDict()

    def begin(self) -> None:
        """A new batch starts: databases are looked at again, whether they have changed."""
        self._checked.clear()

    def score(self, db_id: str, gold: str, pred: str) -> Verdict:
        """The verdict; whatever the statements do, this returns one."""
        try:
            instances = self._instances(db_id)
        except (OSError, ValueError, sqlite3.Error) as error:  # ValueError: a name that no file can have
            return Verdict(False, "gold_error", ErrorClass.OTHER.value, f"{db_id[:100]}: {error}"[:1000])
        try:
            return self.judge.judge(instances, gold, pred)
        except sqlite3.Error as error:
            return Verdict(False, "gold_error", ErrorClass.OTHER.value, f"{db_id}: {error}")
        except (MemoryError, RecursionError) as error:
            return Verdict(False, "error", ErrorClass.TOO_LARGE.value, f"comparing the results: {type(error).__name__}")

    def _instances(self, db_id: str) -> list[Instance]:
        if db_id in self._checked and db_id in self._open:
            return self._open[db_id][1]
        self._checked.add(db_id)
        paths = find_instances(self.folder, db_id, self.protocol.name == "spider-test-suite")
        files = [file for path in paths for file in (path, *side_files(path))]
        stamp = [(file, (stat := file.stat()).st_mtime_ns, stat.st_size) for file in files]
        known = self._open.get(db_id)
        if known is not None and known[0] == stamp:
            self._open.move_to_end(db_id)
            return known[1]
        if known is not None:
            self._close(db_id)
        found = [self._instance(path) for path in paths]
        self._open[db_id] = (stamp, found)
        while sum(len(entry[1]) for entry in self._open.values()) > _MOST_OPEN_FILES and len(self._open) > 1:
            self._close(next(iter(self._open)))
        return found

    def _close(self, db_id: str) -> None:
        for instance in self._open.pop(db_id)[1]:
            instance.connection.close()

    def close(self) -> None:
        """Close all databases."""
        for db_id in list(self._open):
            self._close(db_id)

    def _instance(self, path: Path) -> Instance:
        content = "|".join(self.cache.content_hash(file) for file in (path, *side_files(path)))
        failures: dict[str, Outcome] = {}

        def gold(sql: str, connection: Connection) -> Outcome:
            key = gold_key(content, sql, self.protocol.label)
            found = self.cache.get(key) or failures.get(key)
            if found is None:
                found = connection.run(sql, self.limits.gold_timeout)
                if isinstance(found, Rows):
                    self.cache.put(key, found)
                else:
                    failures[key] = found
            return found

        return Instance(Connection(path, self.limits), gold)
