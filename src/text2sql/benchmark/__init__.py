"""One model on every test set: greedy and voted, each protocol, beside published figures and another model's run.

A figure means little alone. Here all figures of a model come out of one command with the same decoding, each with its
protocol and interval, so that nothing is compared which was measured differently. Sets whose files are not there are
named and left out.
"""
