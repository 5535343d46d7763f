"""Text-to-SQL evaluation: the official verdicts, fast, and safe against any SQL.

Names are loaded when first used, so that worker processes start with what they need and nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqleval.evaluator import Evaluator
    from sqleval.levels import hardness
    from sqleval.outcome import ErrorClass, Failure, Rows
    from sqleval.protocol import Protocol
    from sqleval.sandbox import Limits, execute
    from sqleval.verdict import Verdict

__all__ = ["ErrorClass", "Evaluator", "Failure", "Limits", "Protocol", "Rows", "Verdict", "execute", "hardness"]
__version__ = "0.1.0"

_HOMES = {
    "Evaluator": "evaluator",
    "hardness": "levels",
    "ErrorClass": "outcome",
    "Failure": "outcome",
    "Rows": "outcome",
    "Protocol": "protocol",
    "Limits": "sandbox",
    "execute": "sandbox",
    "Verdict": "verdict",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'sqleval' has no attribute {name!r}")
    return getattr(import_module(f"sqleval.{_HOMES[name]}"), name)
