"""The toy world: small SQLite databases of our own, defined in YAML and filled by a seeded generator."""
