"""The tiny base: a Qwen3-architecture model small enough to train from scratch on two CPU cores.

``text2sql tiny-base prepare`` makes its corpora, tokenizer and untrained model, and ``text2sql train`` trains it.
"""
