"""Everything that executes SQL: the sandbox, gold results kept for reuse, and worker processes that may be killed."""
