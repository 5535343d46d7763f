"""Renders what the ledger holds: tables and sentences in the READMEs and the figure in ``figs/``, never typed by hand.

``text2sql report`` writes them, ``--check`` fails where they are stale, and ``compare`` sets the reports of
single evaluations side by side.
"""
