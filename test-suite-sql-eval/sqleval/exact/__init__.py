"""Exact set match, component scores and hardness, read from a query's text with Spider's own grammar."""
