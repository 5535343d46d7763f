"""The data files behind a recipe's data set names, as dataset_info.json describes them."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from text2sql.errors import UserError
from text2sql.recipe.keys import names


def data_files(recipe: Mapping[str, Any], where: Path) -> Iterator[tuple[str, Path]]:
    """Name and file of every data set that the recipe trains or evaluates on; hub data sets have no file and are left out.

    Raises:
        UserError: ``dataset_info.json`` does not know the name, or the file is missing (with the command that makes it).
    """
    folder = Path(str(recipe.get("dataset_dir", "data")))
    known = _read_info(folder / "dataset_info.json", where)
    for key in ("dataset", "eval_dataset"):
        for name in names(recipe.get(key)):
            if name not in known:
                listed = ", ".join(sorted(known))
                raise UserError(
                    f"{where}: {key} {name!r} is not in {folder / 'dataset_info.json'}, which knows {listed}"
                )
            if "file_name" in known[name]:
                yield name, _check_file(folder / known[name]["file_name"], name)


def _read_info(path: Path, where: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"{where}: {path} is missing; dataset_dir names the folder that holds it")
    try:
        known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error})") from error
    return known


def _check_file(path: Path, name: str) -> Path:
    if not path.exists():
        maker = Path("recipes/data") / f"{name.split('_', maxsplit=1)[0]}.yaml"
        command = f"bash scripts/prepare_data.sh {maker if maker.is_file() else '--help'}"
        raise UserError(f"{path}: data set {name!r} is not prepared; make it with `{command}`")
    if path.is_file() and path.stat().st_size == 0:
        raise UserError(f"{path}: data set {name!r} is empty; prepare it again")
    return path
