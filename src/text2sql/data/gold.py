"""The gate that every example passes: its gold SQL must run where a prediction would."""

from pathlib import Path

from sqleval import Failure, execute


def gold_failure(database: Path, sql: str, timeout: float = 10.0) -> tuple[str, str] | None:
    """Why the gold SQL gives no result (reason to count by, detail), or ``None`` if it does.

    Raises:
        FileNotFoundError: there is no such database file.
    """
    outcome = execute(database, sql, timeout=timeout)
    if isinstance(outcome, Failure):
        return f"gold does not run ({outcome.error})", outcome.message
    return None
