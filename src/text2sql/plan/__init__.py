"""Estimates whether a recipe fits before it is started: parameters, memory of a process, and batch arithmetic.

``text2sql plan RECIPE [--gpus N] [--memory GB] [key=value ...]`` prints what :func:`.estimate.estimate` returns.
"""
