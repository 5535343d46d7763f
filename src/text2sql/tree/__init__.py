"""Trees of revisions: a model's attempts at a question, each wrong one tried again with what became of it.

A tree says how many revisions an attempt is away from a right answer, and so which of two attempts is the better one: the
cheapest preference data there is. :mod:`.grow` builds trees (:mod:`.execute` runs the attempts), :mod:`.verify` runs them
again, :mod:`.pairs` takes preference pairs from them for DPO and reward models, :mod:`.lessons` what teaches a model to
revise, and :mod:`.score` says how well a reward model orders pairs.
"""
