"""The library call for evaluation and training loops: verdicts for a batch, from processes that may be killed."""

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from sqleval.outcome import ErrorClass, Failure, Outcome, Verdict
from sqleval.protocol import Protocol
from sqleval.run.cache import default_folder
from sqleval.run.pool import Item, Pool
from sqleval.run.sandbox import Limits
from sqleval.run.worker import Session

_MOST_REMEMBERED = 200_000
_Stamp = tuple[tuple[str, int, int], ...]
_Key = tuple[str, str, str, _Stamp]


class Evaluator:
    """Judges predictions on the SQLite databases ``db_root/<db_id>/<db_id>.sqlite``.

    ``protocol`` is a :class:`sqleval.Protocol` or its label, such as ``spider-exec`` or ``spider-exec+keep_distinct``.
    ``jobs`` worker processes are kept between calls; 0 judges in this process, without protection against SQLite hanging
    inside one function call. ``timeout`` bounds each prediction in seconds. ``cache`` is the folder for gold results
    ("default": the user's cache folder, None: memory only). Verdicts are remembered as well, so a repeated item costs
    nothing; ``remember=False`` turns that off. With ``overlaps``, the verdict on a mismatch carries its overlap with the
    gold.

    Raises:
        ValueError: unknown protocol or flag.
        FileNotFoundError: ``db_root`` is not a folder.
    """

    def __init__(
        self,
        db_root: str | Path,
        protocol: str | Protocol = "spider-exec",
        jobs: int = 2,
        timeout: float = 5.0,
        *,
        limits: Limits | None = None,
        cache: Path | str | None = "default",
        remember: bool = True,
        overlaps: bool = False,
    ) -> None:
        self.db_root = Path(db_root)
        if not self.db_root.is_dir():
            raise FileNotFoundError(f"{self.db_root}: no such folder of databases")
        self.protocol = Protocol.parse(protocol) if isinstance(protocol, str) else protocol
        self._jobs = jobs
        self._settings: dict[str, Any] = {
            "folder": self.db_root.absolute(),
            "protocol": self.protocol,
            "limits": replace(limits or Limits(), timeout=timeout),
            "cache": default_folder() if cache == "default" else Path(cache) if cache else None,
            "overlaps": overlaps,
        }
        self._remember = remember
        self._known: dict[_Key, Verdict] = {}
        self._lock = threading.Lock()
        self._reset()

    def _reset(self) -> None:
        self._owner = os.getpid()
        self._pool = Pool(self._jobs, self._settings)
        self._session: Session | None = None

    def score_batch(
        self, items: Sequence[tuple[str, str, str]], progress: Callable[[int], None] | None = None
    ) -> list[Verdict]:
        """One verdict for each ``(db_id, gold SQL, predicted SQL)``, in order, whatever the SQL does.

        ``progress`` is called with the number of items decided since the last call.
        """
        report = progress or (lambda done: None)
        with self._lock:
            if os.getpid() != self._owner:  # a fork must not share its parent's pipes
                self._reset()
            stamps = {db_id: self._stamp(db_id) for db_id in {item[0] for item in items}}
            keys = [(*item, stamps[item[0]]) for item in items]
            fresh = list({key: item for key, item in zip(keys, items, strict=True) if key not in self._known}.items())
            done = self._do([item for _, item in fresh], report)
            found = [Verdict.failed(one) if isinstance(one, Failure) else one for one in done]
            new = dict(zip((key for key, _ in fresh), found, strict=True))
            verdicts = [new.get(key) or self._known[key] for key in keys]
            report(len(items) - len(fresh))
            self._keep(new)
        return verdicts

    def score(self, db_id: str, gold: str, pred: str) -> Verdict:
        """The verdict on one prediction."""
        return self.score_batch([(db_id, gold, pred)])[0]

    def run_batch(
        self, items: Sequence[tuple[str, str]], progress: Callable[[int], None] | None = None
    ) -> list[list[Outcome]]:
        """What each ``(db_id, SQL)`` gives on every instance that the protocol looks at, up to the first failure.

        Statements are rewritten as predictions are; ``timeout`` bounds one on all instances. Equal items are run once;
        nothing is remembered. Rows come back whole, so give ``limits`` that memory can bear. ``progress``: as for
        :meth:`score_batch`.
        """
        report = progress or (lambda done: None)
        with self._lock:
            if os.getpid() != self._owner:
                self._reset()
            fresh = list(dict.fromkeys(items))
            done = self._do(list[Item](fresh), report)
        report(len(items) - len(fresh))
        pairs = zip(fresh, done, strict=True)
        found: dict[tuple[str, str], list[Outcome]]
        found = {item: [one] if isinstance(one, Failure) else one for item, one in pairs}
        return [found[item] for item in items]

    def _do(self, items: list[Item], report: Callable[[int], None]) -> list[Any]:
        if not items:
            return []
        if self._jobs:
            return self._pool.run(items, report, lambda db_id: max((file[2] for file in self._stamp(db_id)), default=0))
        self._session = self._session or Session(**self._settings)
        self._session.begin()
        found = []
        for item in items:
            found.append(self._session.do(item))
            report(1)
        return found

    def _keep(self, new: dict[_Key, Verdict]) -> None:
        """Remember verdicts, but not those that the machine's load may have caused."""
        if not self._remember:
            return
        if len(self._known) + len(new) > _MOST_REMEMBERED:
            self._known.clear()
        unstable = (ErrorClass.TIMEOUT.value, ErrorClass.OTHER.value)
        self._known.update({key: verdict for key, verdict in new.items() if verdict.error_class not in unstable})

    def _stamp(self, db_id: str) -> _Stamp:
        """What changes when the databases of ``db_id`` do."""
        try:
            with os.scandir(self.db_root / db_id) as entries:
                files = [entry for entry in entries if entry.name.endswith((".sqlite", ".sqlite-wal"))]
                return tuple(sorted((f.name, (s := f.stat()).st_mtime_ns, s.st_size) for f in files))
        except (OSError, ValueError):
            return ()

    def worker_pids(self) -> list[int]:
        """Process ids of the worker processes."""
        return self._pool.pids()

    def close(self) -> None:
        """End the worker processes; the next call starts new ones."""
        with self._lock:
            if os.getpid() == self._owner:
                self._pool.close()
            if self._session is not None:
                self._session.close()
                self._session = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_owner", None) == os.getpid():
            self._pool.close()
