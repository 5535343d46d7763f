"""Merge a LoRA adapter into its base model with ``llamafactory-cli export``.

The merged folder appears under its name only when it is whole. ``merge.json`` in it says what it was made of, so that a
second run does nothing.
"""

import logging
import os
from pathlib import Path

import yaml

from text2sql.artifacts import check_own, is_current, read_note, whole_folder, write_note, write_text
from text2sql.checkpoint.model import fingerprint, folder_shapes
from text2sql.errors import UserError, run_command
from text2sql.llamafactory.arguments import check_arguments, check_template, known_arguments
from text2sql.recipe import Recipe, load_recipe
from text2sql.recipe.command import Overrides, RecipePath, single
from text2sql.recipe.keys import names
from text2sql.train.launch import run_llamafactory
from text2sql.train.preflight import check_adapters, check_free, check_output, model_folder

logger = logging.getLogger("text2sql.train.merge")
_NOTE = "merge.json"
_OVERWRITE = "overwrite_export_dir"  # a key of ours


def merge(where: RecipePath, overrides: Overrides = None) -> None:
    """Merge a LoRA adapter into its base model with llamafactory-cli export, unless that is done already."""
    recipe = load_recipe(where, overrides or [])
    base = model_folder(recipe, where)
    if base is None:
        raise UserError(f"{where}: merging needs the base in a folder, not the hub name {recipe['model_name_or_path']}")
    adapters = [Path(name) for name in names(recipe.get("adapter_name_or_path"))]
    if not adapters:
        raise UserError(f"{where}: adapter_name_or_path is missing; name the folder that training wrote")
    export_dir = check_output(recipe, where, base, key="export_dir")
    check_adapters(recipe, base)
    overwrite = recipe.pop(_OVERWRITE, False)
    made_of = _made_of(recipe, base, adapters)
    check_own(export_dir, _NOTE, "export_dir")
    if is_current(export_dir / _NOTE, made_of) and folder_shapes(export_dir):
        logger.info("already merged: %s", export_dir)
        return
    if not overwrite:
        _refuse_another(export_dir, where, adapters)
    check_arguments(recipe, known_arguments("export"), where)
    check_template(recipe, where)
    weights = sum(path.stat().st_size for path in base.glob("*.safetensors"))
    check_free(export_dir, 2 * weights, "the merged model; free some space")  # in float32 where the base is bfloat16
    with whole_folder(export_dir) as partial:
        _export(recipe, partial)
        write_note(partial / _NOTE, made_of, adapters=[str(path) for path in adapters])
    logger.info("merged: %s", export_dir)


def _made_of(recipe: Recipe, base: Path, adapters: list[Path]) -> dict[str, object]:
    """What the merged model depends on: the folders' contents, and the recipe without their paths."""
    places = ("model_name_or_path", "adapter_name_or_path", "export_dir")
    settings = {key: value for key, value in recipe.items() if key not in places}
    return {"base": fingerprint(base), "adapters": [fingerprint(path) for path in adapters], "recipe": settings}


def _refuse_another(export_dir: Path, where: Path, adapters: list[Path]) -> None:
    """Refuse to replace the merge of other adapters; those of the same folder, trained again, replace their own."""
    note = read_note(export_dir / _NOTE)
    before = note and note.get("adapters")
    if note and [Path(name).resolve() for name in before or ()] != [path.resolve() for path in adapters]:
        raise UserError(
            f"{where}: export_dir {export_dir} holds the merge of {', '.join(before) if before else 'an adapter'}, not of "
            f"{', '.join(map(str, adapters))}; choose another export_dir, or {_OVERWRITE}=true to replace it"
        )


def _export(recipe: Recipe, partial: Path) -> None:
    settings = partial / "recipe.yaml"
    effective = {**recipe, "export_dir": str(partial)}
    write_text(settings, yaml.safe_dump(effective, sort_keys=False, allow_unicode=True))
    added = {} if "LLAMAFACTORY_VERBOSITY" in os.environ else {"LLAMAFACTORY_VERBOSITY": "WARNING"}
    run_llamafactory(["export", str(settings)], added, partial / "export.log")
    if not folder_shapes(partial):
        raise UserError(f"llamafactory-cli export wrote no weights; see {partial / 'export.log'}")
    settings.unlink()


if __name__ == "__main__":
    run_command(single(merge))
