"""Chooses one answer among several samples by what they give when they are run, without a gold or a reward.

Samples of one model agree on right answers more often than on wrong ones (self-consistency). Each distinct query is
run once, and those of equal result are one group, which has a standing, best first:

* ``good``: a result that says something, from a query whose literals its columns store;
* ``not_stored``: a literal is no stored value of its column (value-aware voting), so the filter misses what it means;
* ``empty``: no rows, or nothing but NULL: questions are rarely asked about nothing;
* ``failed``: no result.

The best standing wins, within it the most votes, then the highest log-probability where engines say it, then the first
candidate. With ``instances`` candidates must agree on fuzzed databases as well, filled with the candidates' own literals, so
that queries which agree on the one database by chance are told apart.

Executing (``run``) is the long part and is kept; counting votes (``vote``) is pure and takes any weights, so that a reward
model can be asked later without executing again.
"""
