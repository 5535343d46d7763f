"""``python -m text2sql.train.merge RECIPE [key=value ...]``: fold an adapter into its base with llamafactory-cli export.

The model is written under another name and renamed when it is whole; ``merge.json`` in it says what it was made of, so
that a second run knows that there is nothing to do.
"""

import json
import logging
import os
import shutil
import sys
from pathlib import Path

import yaml

from text2sql.errors import UserError, run_command
from text2sql.recipe import load_recipe
from text2sql.train.arguments import check_arguments, known_arguments
from text2sql.train.launch import only_one, run_llamafactory
from text2sql.train.preflight import Recipe, check_adapters, check_output, model_folder, names
from text2sql.weights import fingerprint, folder_shapes

logger = logging.getLogger("text2sql.train.merge")


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        sys.stdout.write(f"{__doc__}\n")
        return
    merge(Path(sys.argv[1]), sys.argv[2:])


def merge(where: Path, overrides: list[str]) -> None:
    """Write the merged model to the recipe's ``export_dir``, unless it is there already.

    Raises:
        UserError: base or adapter is missing, they do not fit, or export failed.
    """
    recipe = load_recipe(where, overrides)
    base = model_folder(recipe, where)
    if base is None:
        raise UserError(f"{where}: merging needs the base in a folder, not the hub name {recipe['model_name_or_path']}")
    adapters = [Path(name) for name in names(recipe.get("adapter_name_or_path"))]
    if not adapters:
        raise UserError(f"{where}: adapter_name_or_path is missing; name the folder that training wrote")
    export_dir = check_output(recipe, where, base, key="export_dir")
    check_adapters(recipe, base)
    wanted = _made_of(recipe, base, adapters)
    if _already(export_dir, wanted):
        logger.info("already merged: %s", export_dir)
        return
    check_arguments(recipe, known_arguments("export"), where)
    _check_disk(base, export_dir)
    partial = export_dir.with_name(f"{export_dir.name}.partial")
    with only_one(partial):
        _export(recipe, partial, wanted)
        if export_dir.is_dir():
            shutil.rmtree(export_dir)
        partial.rename(export_dir)
    logger.info("merged: %s", export_dir)


def _made_of(recipe: Recipe, base: Path, adapters: list[Path]) -> dict[str, object]:
    """What the merged model depends on: weights by their hash, and the recipe without places."""
    places = ("model_name_or_path", "adapter_name_or_path", "export_dir")
    settings = {key: value for key, value in recipe.items() if key not in places}
    return {"base": fingerprint(base), "adapters": [fingerprint(path) for path in adapters], "recipe": settings}


def _already(export_dir: Path, wanted: dict[str, object]) -> bool:
    if not export_dir.exists():
        return False
    try:
        found = json.loads((export_dir / "merge.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        if any(export_dir.iterdir()):
            raise UserError(f"{export_dir} holds files of another origin; choose another export_dir") from None
        return False
    return bool(found == wanted and folder_shapes(export_dir))


def _check_disk(base: Path, export_dir: Path) -> None:
    needed = 2 * sum(
        path.stat().st_size for path in base.glob("*.safetensors")
    )  # in float32 where the base is bfloat16
    place = next(folder for folder in (export_dir.resolve(), *export_dir.resolve().parents) if folder.is_dir())
    if shutil.disk_usage(place).free < needed:
        raise UserError(f"{place}: the merged model needs up to {needed / 1e9:.1f} GB; free some space")


def _export(recipe: Recipe, partial: Path, made_of: dict[str, object]) -> None:
    for path in partial.iterdir():
        if path.name != ".lock":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    settings = partial / "recipe.yaml"
    effective = {**recipe, "export_dir": str(partial)}
    settings.write_text(yaml.safe_dump(effective, sort_keys=False, allow_unicode=True), encoding="utf-8")
    added = {key: value for key, value in {"LLAMAFACTORY_VERBOSITY": "WARNING"}.items() if key not in os.environ}
    run_llamafactory(["export", str(settings)], added, partial / "export.log")
    if not folder_shapes(partial):
        raise UserError(f"llamafactory-cli export wrote no weights; see {partial / 'export.log'}")
    (partial / "merge.json").write_text(json.dumps(made_of, indent=1), encoding="utf-8")
    settings.unlink()
    (partial / ".lock").unlink()


if __name__ == "__main__":
    run_command(main)
