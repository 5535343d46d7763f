"""What can be told about a SQL text without running it: its class, its complexity, its issues.

Read from sqlglot's trees, and from its tokens where there is no tree. Process rewards and process evaluation both
start from here, so that what is rewarded is what is measured.
"""

from text2sql.sql.complexity import MULTI_STEP, SIMPLE, Classification, classify, complexity
from text2sql.sql.issues import ISSUE_RULES, Issue, IssueRule, find_issues, issue
from text2sql.sql.meta import Check, check_classification
from text2sql.sql.origin import draws_lots, is_constant
from text2sql.sql.statement import Statement, equivalent, read_statement

__all__ = [
    "ISSUE_RULES",
    "MULTI_STEP",
    "SIMPLE",
    "Check",
    "Classification",
    "Issue",
    "IssueRule",
    "Statement",
    "check_classification",
    "classify",
    "complexity",
    "draws_lots",
    "equivalent",
    "find_issues",
    "is_constant",
    "issue",
    "read_statement",
]
