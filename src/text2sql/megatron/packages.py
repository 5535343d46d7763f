"""Which of Megatron's packages are installed, found without importing them: that takes many seconds and prints pages."""

import importlib.util
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from text2sql.errors import UserError

_SOURCE = (
    "its home is the folder mcore_adapter of the repository alibaba/ROLL: "
    'pip install "git+https://github.com/alibaba/ROLL.git#subdirectory=mcore_adapter"'
)


def adapter_is_here() -> bool:
    """True where mcore_adapter itself can be imported, not the package index's namesake."""
    spec = importlib.util.find_spec("mcore_adapter")
    places = spec.submodule_search_locations if spec else None
    return any((Path(place) / "training_args.py").is_file() for place in places or ())


def check_packages(recipe: Mapping[str, Any], where: Path) -> None:
    """Megatron core, mcore_adapter itself, and Transformer Engine where the recipe asks for what only it can do.

    Raises:
        UserError: one is missing, or the package index's namesake of mcore_adapter is installed.
    """
    try:
        version("megatron-core")
    except PackageNotFoundError:
        raise UserError("megatron-core is not installed; run `bash scripts/setup.sh train`") from None
    if not adapter_is_here():
        found = _version_of("mcore_adapter")
        if found:
            raise UserError(
                f"mcore_adapter {found} is not the one that Megatron needs but a namesake from the package index; "
                f"pip uninstall mcore-adapter, then install it: {_SOURCE}"
            )
        raise UserError(f"mcore_adapter is not installed; the package index has only another project's; {_SOURCE}")
    if recipe.get("transformer_impl", "transformer_engine") == "local":
        _check_local(recipe, where)
    elif importlib.util.find_spec("transformer_engine") is None:
        raise UserError(
            f"{where}: Transformer Engine is not installed (pip install --no-build-isolation transformer_engine[pytorch]); "
            "without it: transformer_impl=local sequence_parallel=false use_distributed_optimizer=false"
        )


def _check_local(recipe: Mapping[str, Any], where: Path) -> None:
    for key in ("sequence_parallel", "sequence_packing", "neat_packing"):
        if recipe.get(key):
            raise UserError(f"{where}: {key} needs Transformer Engine, and transformer_impl is local; set {key}=false")
    if recipe.get("use_distributed_optimizer") and not recipe.get("save_only_model"):
        raise UserError(
            f"{where}: with transformer_impl: local a run with use_distributed_optimizer cannot be resumed; set "
            "use_distributed_optimizer=false, or save_only_model=true"
        )


def _version_of(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
