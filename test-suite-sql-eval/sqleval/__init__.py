"""Text-to-SQL evaluation: the official verdicts, fast, and safe against any SQL.

Names are loaded when first used, so that worker processes start with what they need and nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqleval.evaluator import Evaluator
    from sqleval.exact.hardness import hardness
    from sqleval.files import instances
    from sqleval.outcome import ErrorClass, Failure, Outcome, Overlap, Rows, Verdict, classify
    from sqleval.protocol import Protocol
    from sqleval.run.apart import Executor, execute
    from sqleval.run.sandbox import Limits
    from sqleval.run.scratch import run_on_copy

__version__ = "0.1.0"
__all__ = [
    "ErrorClass",
    "Evaluator",
    "Executor",
    "Failure",
    "Limits",
    "Outcome",
    "Overlap",
    "Protocol",
    "Rows",
    "Verdict",
]
__all__ += ["classify", "execute", "hardness", "instances", "run_on_copy"]
_MODULES = {
    "evaluator": ("Evaluator",),
    "exact.hardness": ("hardness",),
    "files": ("instances",),
    "outcome": ("ErrorClass", "Failure", "Outcome", "Overlap", "Rows", "Verdict", "classify"),
    "protocol": ("Protocol",),
    "run.apart": ("Executor", "execute"),
    "run.sandbox": ("Limits",),
    "run.scratch": ("run_on_copy",),
}


def __getattr__(name: str) -> object:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"sqleval.{module}"), name)
    raise AttributeError(f"module 'sqleval' has no attribute {name!r}")
