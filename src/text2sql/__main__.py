"""``python -m text2sql``: the same as the console command."""

from text2sql.cli import main

main()
