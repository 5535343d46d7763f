"""Scores text-to-SQL predictions: ``python evaluation.py --gold g.txt --pred p.txt --db DIR --table tables.json``.

Runs from any folder, installed or not.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from sqleval.cli import main

if __name__ == "__main__":
    sys.exit(main())
