"""The registry of issues that can be seen in a SQL text, and the search for them.

Users add an issue with ``@issue("my_issue", severity=0.4)`` in a module of their own and name the module in the key ``issues``
of their recipes; rewards, reports and the process format's prompt then know it. The shipped ones are registered when the
package is imported.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from text2sql.errors import UserError
from text2sql.prompts import name_issues
from text2sql.recipe.keys import import_module
from text2sql.schema import Schema
from text2sql.sql.statement import Statement, parse_ddl, read_statement

Rule = Callable[[Statement, str, Schema | None], str | bool | None]


@dataclass(frozen=True)
class IssueRule:
    """A named rule: ``check(statement, question, schema)`` returns what is wrong (text, or True), else None or False.

    ``severity`` is in (0, 1]. ``question`` is empty and ``schema`` None where they are unknown. ``alias`` is the Chinese
    name, which self-assessments may use.
    """

    name: str
    severity: float
    check: Rule
    alias: str = ""


@dataclass(frozen=True)
class Issue:
    """An issue that was found; ``detail`` says where."""

    name: str
    severity: float
    detail: str = ""


ISSUE_RULES: dict[str, IssueRule] = {}


def issue(name: str, severity: float, alias: str = "") -> Callable[[Rule], Rule]:
    """Register the decorated rule under ``name``.

    Raises:
        UserError: the name is taken, or the severity is not in (0, 1].
    """
    if name in ISSUE_RULES:
        raise UserError(f"issue {name!r} is registered already; choose another name")
    if not 0 < severity <= 1:
        raise UserError(f"issue {name!r}: severity is above 0 and at most 1, not {severity}")

    def register(rule: Rule) -> Rule:
        ISSUE_RULES[name] = IssueRule(name, severity, rule, alias)
        find_issues.cache_clear()
        return rule

    return register


def load_issues(modules: Sequence[str]) -> None:
    """Import modules that register issues, and name these in the prompt of the process format.

    Raises:
        UserError: a module cannot be imported, or registers no issue.
    """
    for name in modules:
        module = import_module(name, f"issues: {name!r}")
        own = [rule.name for rule in ISSUE_RULES.values() if rule.check.__module__ == module.__name__]
        if not own:
            raise UserError(f"issues: {name} registers none; decorate a rule with @issue (text2sql.sql.issue)")
        name_issues(own)


@lru_cache(maxsize=16384)
def find_issues(sql: str, question: str = "", schema: str = "") -> tuple[Issue, ...]:
    """All issues of a SQL text, in the order of the registry.

    ``schema`` is ``CREATE TABLE`` text, as prompts show it; without it, rules that need keys or types find less.
    """
    statement, tables = read_statement(sql), parse_ddl(schema) if schema else None
    found = ((rule, rule.check(statement, question, tables)) for rule in ISSUE_RULES.values())
    return tuple(
        Issue(rule.name, rule.severity, detail if isinstance(detail, str) else "") for rule, detail in found if detail
    )
