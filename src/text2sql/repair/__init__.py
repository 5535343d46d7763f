"""Repair of a query without a model: what the database's own names and values show to be a slip is put right.

A small model writes ``'france'`` where the database says ``'France'``, and takes a column from the wrong one of two
joined tables. Both can be seen from the schema and the stored values alone. Every rule asks that there be exactly one way
to put it right, and only the name or the literal is changed; the rest of the text stays as the model wrote it. Repair knows
neither the question nor a gold, and is off unless a recipe turns it on; the text before it is always kept.
"""

from text2sql.repair.mend import Repaired, database_schema, feedback, repair, repaired, unstored

__all__ = ["Repaired", "database_schema", "feedback", "repair", "repaired", "unstored"]
