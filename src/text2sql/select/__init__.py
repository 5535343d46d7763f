"""Chooses one answer among several samples by what they give when they are run, without a gold.

Samples of one model agree on right answers more often than on wrong ones (self-consistency). Each distinct query is
run once, and those of equal result are one group, which has a standing, best first:

* ``good``: a result that says something, from a query whose literals its columns store;
* ``not_stored``: a literal is no stored value of its column (value-aware voting), so the filter misses what it means;
* ``empty``: no rows, or nothing but NULL: questions are rarely asked about nothing;
* ``failed``: no result.

The best standing wins, within it the most votes, then the highest log-probability where engines say it, then the first
candidate. With ``instances`` candidates must agree on fuzzed databases as well, filled with the candidates' own literals, so
that queries which agree on the one database by chance are told apart.

Executing (``run``) and a reward model's scores (``learned``) are the long parts and are kept; counting votes (``vote``) is pure
and takes any weights. With a reward model the highest score wins within the best standing, or votes count as the scores say.
The chosen answer can go back to a model with what it gave (``revise``).
"""
