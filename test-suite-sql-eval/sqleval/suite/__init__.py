"""Test suites for one's own databases: instances that distinguish right queries from almost right ones.

On a single database a wrong query can give the gold's result by coincidence: its filter removes nothing, or there is
no tie. A suite is a few databases with the same schema and other rows, kept because each of them distinguishes some
gold query from a mutated neighbour that gives the same result on the others.
"""
