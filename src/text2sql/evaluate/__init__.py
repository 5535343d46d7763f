"""Scores a file of predictions by executing them: who was right, by hardness, and what went wrong.

The verdicts are ``sqleval``'s; this module joins predictions with examples, counts, and keeps protocol, n and
decoding beside every figure, because a figure without them means nothing.
"""

from text2sql.evaluate.options import EvaluateOptions
from text2sql.evaluate.report import LEVELS, Report, Score, read_report, wilson
from text2sql.evaluate.score import evaluate

__all__ = ["LEVELS", "EvaluateOptions", "Report", "Score", "evaluate", "read_report", "wilson"]
