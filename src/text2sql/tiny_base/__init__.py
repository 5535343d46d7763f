"""The tiny base: a Qwen3-architecture model small enough to train from scratch on two CPU cores.

``python -m text2sql.tiny_base RECIPE`` makes its corpus, tokenizer and untrained model; llamafactory-cli trains it.
"""
