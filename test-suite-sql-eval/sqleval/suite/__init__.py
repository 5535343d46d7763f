"""Test suites for one's own databases: instances that tell right queries from almost right ones.

A single database lets wrong queries through by luck: a filter that removes nothing, a tie that is not there. A suite
is a handful of databases with the same schema and other rows, kept because each of them tells some gold query from
a mutated neighbour that the others take for right.
"""
