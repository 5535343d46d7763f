"""Renders what the ledger holds: result tables in the READMEs and the figure in ``figs/``, never typed by hand.

``python -m text2sql.report`` writes them, ``--check`` fails where they are stale, and ``compare`` sets the reports of
single evaluations side by side.
"""

from text2sql.report.compare import compare
from text2sql.report.readme import render

__all__ = ["compare", "render"]
