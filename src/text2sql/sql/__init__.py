"""A query read without running it: its statement, joins, class, complexity and issues, and where its values come from.

Everything is read from sqlglot's trees, and from the tokens where a text cannot be parsed. Process rewards and process
metrics both use this package, so that what is rewarded is what is measured. Importing it registers the shipped issues.
"""

from text2sql.sql import rules as _shipped_rules  # noqa: F401
from text2sql.sql.complexity import MULTI_STEP, SIMPLE, check_classification, classify, complexity
from text2sql.sql.issues import ISSUE_RULES, find_issues, issue, load_issues
from text2sql.sql.origin import cuts_off, is_constant, is_random
from text2sql.sql.statement import equivalent, read_statement

__all__ = [
    "ISSUE_RULES",
    "MULTI_STEP",
    "SIMPLE",
    "check_classification",
    "classify",
    "complexity",
    "cuts_off",
    "equivalent",
    "find_issues",
    "is_constant",
    "is_random",
    "issue",
    "load_issues",
    "read_statement",
]
