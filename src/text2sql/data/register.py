"""One list of all that is prepared, so that a run can train on several sources at once.

LLaMA-Factory reads the names of data sets in ``dataset_info.json`` of one folder. Each preparation writes its own there and
adds itself to the one in the folder above, where those of its neighbours stand.
"""

import json
import logging
from pathlib import Path
from typing import Any

from text2sql.artifacts import locked, write_json
from text2sql.data.options import CommonOptions
from text2sql.data.parts import dataset_info
from text2sql.errors import UserError

logger = logging.getLogger(__name__)
INFO = "dataset_info.json"


def register(options: CommonOptions, splits: tuple[str, ...]) -> None:
    """Add the data sets under ``options.output`` to the list of the folder above.

    Where a neighbour has the same name, the output folder's name stands before the split's instead. Each split is listed
    for GRPO as well.

    Raises:
        UserError: the list cannot be read or written.
    """
    folder, listing = options.output.name, options.output.parent / INFO
    try:
        with locked(listing.with_name(f".{INFO}.lock"), f"{listing}: in use", wait=True):
            known = json.loads(listing.read_text(encoding="utf-8")) if listing.is_file() else {}
            others = {name: entry for name, entry in known.items() if _folder(entry) != folder}
            ours = _entries(options.name, options, splits)
            if any((listing.parent / _folder(others[name])).is_dir() for name in others.keys() & ours.keys()):
                logger.warning("%s: a neighbour's data sets are %s_*, so these are %s_*", listing, options.name, folder)
                ours = _entries(folder, options, splits)
            write_json(listing, {**others, **ours})
            logger.info("to train on: %s (dataset_dir=%s)", ", ".join(ours), listing.parent)
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{listing}: cannot be kept up to date ({error}); mend or remove it") from error


def _folder(entry: dict[str, Any]) -> str:
    """The folder of a data set's file, where it is below that of the list."""
    parts = Path(str(entry.get("file_name", ""))).parts
    return parts[0] if len(parts) > 1 else ""


def _entries(name: str, options: CommonOptions, splits: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    folder = options.output.name
    own = dataset_info(name, splits, options.formats)
    below = {key: {**entry, "file_name": f"{folder}/{entry['file_name']}"} for key, entry in own.items()}
    examples = {
        f"{name}_{split}_grpo": {"file_name": f"{folder}/examples/{split}.jsonl", "formatting": "text2sql"}
        for split in splits
    }
    return {**examples, **below}
