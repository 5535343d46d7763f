"""Data preparation: from a source (our toy world, a benchmark, a user's file) to examples and training files."""

from text2sql.data.outputs import data_hash
from text2sql.data.prepare import finished_report, prepare
from text2sql.data.tables import write_tables

__all__ = ["data_hash", "finished_report", "prepare", "write_tables"]
