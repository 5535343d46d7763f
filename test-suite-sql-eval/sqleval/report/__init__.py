"""What is shown of a run: figures by level, the official table, statistics, JSON and a page for the browser."""
