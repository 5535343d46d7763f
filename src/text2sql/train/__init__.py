"""Training with llamafactory-cli: mistakes end in one line before anything is loaded, and stopped runs continue.

``text2sql train RECIPE [key=value ...]`` checks a recipe against model and data (:mod:`.preflight`), its own intervals
(:mod:`.schedule`), GPUs (:mod:`.machine`, :mod:`.megatron`) and processes (:mod:`.processes`), decides whether to start, resume
or skip (:mod:`.runs`), and starts the trainer (:mod:`.launch`). ``text2sql merge`` does the same for ``llamafactory-cli export``,
and ``text2sql sweep`` (:mod:`.sweep`) trains a recipe with several values of its keys.
"""
