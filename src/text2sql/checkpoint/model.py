"""Checks, without loading it, that a folder is a model or an adapter that can be used.

PEFT silently loads an adapter made for another number of layers, so names and shapes are compared with the base's.
"""

from pathlib import Path

from text2sql.artifacts import read_note
from text2sql.checkpoint.run import RUN
from text2sql.checkpoint.weights import check_index, fingerprint, folder_shapes, read_json
from text2sql.errors import UserError

_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


def check_model(folder: Path, *, weights: bool = True) -> None:
    """Require a whole model folder, without ``weights`` where training starts from scratch.

    Raises:
        UserError: no such folder, an adapter where a model is asked for, or a part of the model is missing or damaged.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such model folder; fetch it with `bash scripts/download_model.sh` (without network: copy the "
            "model's files there), or train and merge it first"
        )
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise UserError(
            f"{folder} holds an adapter, not a model; name its base as model_name_or_path and it as adapter_name_or_path"
        )
    for name in ("config.json", "tokenizer_config.json"):
        if not (folder / name).is_file():
            raise UserError(f"{folder}: no {name} in it, so it is not a whole model; download or copy it again")
    check_index(folder)
    found = [path for pattern in _WEIGHTS for path in folder.glob(pattern)]
    if weights and not found:
        raise UserError(f"{folder}: no weights in it; download or train the model again")
    for path in found:
        with path.open("rb") as file:
            if file.read(64).startswith(b"version https://git-lfs"):
                raise UserError(
                    f"{path}: a Git LFS pointer, not weights; run `git lfs pull` or download the model again"
                )
    folder_shapes(folder)


def check_adapter(adapter: Path, base: Path | None) -> None:
    """Require a LoRA adapter that was trained on ``base`` and fits its layers; None: the base is not in a folder.

    Raises:
        UserError: names the folders and what is missing or disagrees.
    """
    if not (adapter / "adapter_config.json").is_file():
        raise UserError(f"{adapter}: no adapter there; train one first (bash scripts/qwen3_1p7B_train.sh --help)")
    if not any(adapter.glob("adapter_model.*")):
        raise UserError(f"{adapter}: adapter_model.safetensors is missing; the training that wrote it did not finish")
    if base is None:
        return
    base_shapes, matched = folder_shapes(base), 0
    for name, shape in folder_shapes(adapter).items():
        module, _, part = name.removeprefix("base_model.model.").rpartition(".lora_")
        target = base_shapes.get(f"{module}.weight") or base_shapes.get(f"{module.removeprefix('model.')}.weight")
        if part not in ("A.weight", "B.weight"):
            continue
        if target is None:
            raise UserError(f"{adapter} does not fit {base}: the base has no layer {module}")
        side = 1 if part == "A.weight" else 0
        if shape[side] != target[side]:
            raise UserError(f"{adapter} does not fit {base}: {module} is {target} there, the adapter has {shape}")
        matched += 1
    if not matched:
        raise UserError(f"{adapter}: no LoRA matrices in it; give the folder that training wrote")
    run = read_note(adapter / RUN)
    if run is not None and run["made_of"]["base"] != fingerprint(base):
        raise UserError(f"{adapter} was trained on another model than {base} is now; train it again")


def adapter_rank(adapter: Path) -> int:
    """The largest LoRA rank in the adapter."""
    config = read_json(adapter / "adapter_config.json")
    return max([int(config["r"]), *(int(rank) for rank in (config.get("rank_pattern") or {}).values())])
