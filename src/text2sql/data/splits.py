"""Divides rows into splits that share nothing.

By database, whole databases go to the smaller splits until each has its share. At random, a hash of the question's words
decides, so that repeated questions stay in one split, and a row whose query another split has is left out.
"""

import random
from collections import Counter
from collections.abc import Iterable

from text2sql.data.normal import digest
from text2sql.data.options import VAL, CommonOptions, FileOptions
from text2sql.data.parts import Head
from text2sql.errors import UserError


def splitter_of(options: CommonOptions, split: str) -> "Splitter | ValDatabases | None":
    """What divides the rows of a split, if anything does."""
    if not isinstance(options, FileOptions):
        return None
    if options.split:
        return Splitter(options.split, options.split_by, options.seed)
    return ValDatabases(options.val_databases, options.seed) if split == "train" and options.val_databases else None


class ValDatabases:
    """Moves the rows of ``count`` databases to the split val."""

    names = ("train", VAL)

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self.chosen: frozenset[str] = frozenset()

    def plan(self, heads: Iterable[Head]) -> None:
        """Look at all rows once.

        Raises:
            UserError: no database would be left to train on.
        """
        databases = sorted({head.db_id for head in heads})
        if len(databases) <= self.count:
            raise UserError(f"val_databases: {self.count} of {len(databases)} databases leave none to train on")
        self.chosen = frozenset(random.Random(self.seed).sample(databases, self.count))

    def name(self, head: Head) -> str:
        """The row's split."""
        return VAL if head.db_id in self.chosen else "train"


class Splitter:
    """Names the split of each row. ``shares`` by split, of which the first takes what the others leave."""

    def __init__(self, shares: dict[str, float], by: str, seed: int) -> None:
        self.shares, self.by, self.seed = shares, by, seed
        self.names = tuple(shares)
        self.databases: dict[str, str] = {}
        self.queries: dict[int, str] = {}

    def plan(self, heads: Iterable[Head]) -> None:
        """Look at all rows once; only databases need it.

        Raises:
            UserError: there are fewer databases than splits.
        """
        if self.by != "database":
            return
        rows = Counter(head.db_id for head in heads)
        if len(rows) < len(self.shares):
            raise UserError(
                f"split: {len(rows)} databases cannot be divided into {len(self.shares)} splits; use split_by=random"
            )
        waiting = sorted(rows)
        random.Random(self.seed).shuffle(waiting)
        first, *others = self.shares
        for number, name in enumerate(others):
            left = self.shares[name] * rows.total()
            reserved = len(others) - number  # databases that the splits after this one, and the first, still need
            while len(waiting) > reserved and (left > 0 or name not in self.databases.values()):
                chosen = waiting.pop()
                if rows[chosen] > 2 * left and name in self.databases.values():
                    waiting.insert(0, chosen)
                    break
                self.databases[chosen] = name
                left -= rows[chosen]
        self.databases |= dict.fromkeys(waiting, first)

    def name(self, head: Head) -> str | None:
        """The row's split, or None where its query belongs to another already."""
        if self.by == "database":
            return self.databases[head.db_id]
        place = digest(str(self.seed), str(head.question)) / (1 << 63)
        chosen = next(iter(self.shares))
        for name, share in self.shares.items():
            if place < share:
                chosen = name
                break
            place -= share
        query = digest(head.db_id, str(head.query))
        return chosen if self.queries.setdefault(query, chosen) == chosen else None
