"""Whether a recipe fits before an hour is spent on finding out: parameters, memory of a process, and batch arithmetic.

``python -m text2sql.plan RECIPE [--gpus N] [--memory GB] [key=value ...]`` prints it; :func:`estimate` is the same for code.
"""

from text2sql.plan.estimate import Estimate, estimate
from text2sql.plan.layout import Layout

__all__ = ["Estimate", "Layout", "estimate"]
