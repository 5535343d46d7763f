"""The door to llamafactory-cli: everything that can be known to be wrong is said in one line before minutes are spent.

``python -m text2sql.train RECIPE [key=value ...]`` checks a recipe (:mod:`.arguments`, :mod:`.preflight`), decides
whether to start, resume or skip (:mod:`.runs`), and runs the real trainer (:mod:`.launch`).
``python -m text2sql.train.merge`` does the same for ``llamafactory-cli export``.
"""
