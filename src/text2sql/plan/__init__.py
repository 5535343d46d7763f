"""Estimates whether a recipe fits before it is started: parameters, memory of a process, and batch arithmetic.

``text2sql plan RECIPE [--gpus N] [--memory GB] [key=value ...]`` prints the estimate; :func:`estimate` returns it.
"""

from text2sql.plan.estimate import Estimate, estimate

__all__ = ["Estimate", "estimate"]
