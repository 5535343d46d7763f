"""Answers people's questions about their databases: an HTTP API with a page, a terminal session, an MCP server.

All four are thin: :mod:`~text2sql.serve.answer` takes a question through the same prompt, engine, repair and vote as training
and evaluation, and :mod:`~text2sql.serve.databases` runs SQL, which always passes ``sqleval``'s sandbox. Databases are named by
the operator; no request can name a file.
"""
