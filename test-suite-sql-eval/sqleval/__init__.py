"""Text-to-SQL evaluation: the official verdicts, fast, and safe against any SQL."""

from sqleval.evaluator import Evaluator
from sqleval.hardness import hardness
from sqleval.outcome import ErrorClass, Failure, Rows
from sqleval.protocol import Protocol
from sqleval.sandbox import Limits, execute
from sqleval.verdict import Verdict

__all__ = ["ErrorClass", "Evaluator", "Failure", "Limits", "Protocol", "Rows", "Verdict", "execute", "hardness"]
__version__ = "0.1.0"
