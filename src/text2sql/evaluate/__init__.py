"""Scores a file of predictions by executing them: who was right, by hardness, and what went wrong.

The verdicts are ``sqleval``'s; this room joins predictions with examples, counts, and keeps protocol, n and decoding
beside every figure, because a figure without them means nothing.
"""
