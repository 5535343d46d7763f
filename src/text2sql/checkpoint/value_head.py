"""Convert a reward model of LLaMA-Factory's ``stage: rm`` to a sequence-classification model of transformers.

What training writes is an adapter and a value head beside it, which only LLaMA-Factory can put together. The result is loaded
by ``AutoModelForSequenceClassification`` and served by vLLM; its score of a text is the value at the last token. The standard
class has no bias, so a head's bias is left out: one constant in all scores, which no comparison sees. ``stage: rm`` trains
without one here (:mod:`text2sql.llamafactory.registry`), so that scores are the same.
"""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic.dataclasses import dataclass
from safetensors.torch import load_file
from torch import Tensor

from text2sql.artifacts import check_own, digest, is_current, read_note, whole_folder, write_note
from text2sql.checkpoint.folder import read_config, write_folder
from text2sql.checkpoint.model import check_adapter, check_model, fingerprint, folder_shapes
from text2sql.errors import UserError, run_command
from text2sql.recipe import STRICT, load_recipe, options_from
from text2sql.recipe.command import Overrides, RecipePath, single

logger = logging.getLogger("text2sql.checkpoint")
HEAD = "value_head.safetensors"
_NOTE = "conversion.json"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class HeadOptions:
    """Keys of a converting recipe.

    ``checkpoint`` is the folder that ``stage: rm`` wrote, ``model_name_or_path`` the model that it was trained from. Scores of
    the result must be those of the checkpoint within ``tolerance``. ``dtype`` float32 keeps them; half precision needs a
    larger tolerance.
    """

    checkpoint: Path
    model_name_or_path: Path
    output_dir: Path
    tolerance: float = 1e-4
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"


@dataclass(frozen=True)
class HeadReport:
    """``difference`` is the largest of ``scores`` scores; ``bias`` is what every score lacks."""

    scores: int
    difference: float
    bias: float


def rm2hf(recipe: RecipePath, overrides: Overrides = None) -> None:
    """Convert a reward model of stage rm to a Hugging Face classification model, and verify its scores."""
    convert_head(options_from(HeadOptions, load_recipe(recipe, overrides or []), str(recipe)))


def convert_head(options: HeadOptions) -> HeadReport:
    """Convert, verify, and rename the result to ``output_dir``; a second call returns the first one's report.

    Raises:
        UserError: base, adapter or value head are missing or do not fit together, or scores differ.
    """
    head = options.checkpoint / HEAD
    check_model(options.model_name_or_path)
    check_adapter(options.checkpoint, options.model_name_or_path)
    if not head.is_file():
        raise UserError(f"{options.checkpoint}: no {HEAD} in it; a reward model is trained with stage: rm")
    made_of = {
        "base": fingerprint(options.model_name_or_path),
        "adapter": fingerprint(options.checkpoint),
        "head": digest(head),
        "dtype": options.dtype,
    }
    check_own(options.output_dir, _NOTE, "output_dir")
    note = options.output_dir / _NOTE
    if is_current(note, made_of) and folder_shapes(options.output_dir):
        logger.info("already converted: %s", options.output_dir)
        return HeadReport(**(read_note(note) or {})["compared"])
    ids = torch.randint(1000, (4, 48), generator=torch.Generator().manual_seed(0))
    values, tensors, bias = _read(options, ids)
    config = {**read_config([options.model_name_or_path]), **_classification(options.model_name_or_path)}
    with whole_folder(options.output_dir) as partial:
        dtype = getattr(torch, options.dtype)
        cast = {name: tensor.to(dtype).contiguous() for name, tensor in tensors.items()}
        write_folder(partial, cast, config, [options.checkpoint, options.model_name_or_path])
        difference = float((scores_of(partial, ids) - (values - bias)).abs().max())
        if difference > options.tolerance:
            raise UserError(f"scores differ by {difference:.2g}, more than tolerance {options.tolerance:g}")
        report = HeadReport(len(ids), difference, bias)
        write_note(partial / _NOTE, made_of, compared=asdict(report))
    logger.info("converted: %s (scores agree within %.1g)", options.output_dir, difference)
    return report


def _read(options: HeadOptions, ids: Tensor) -> tuple[Tensor, dict[str, Tensor], float]:
    """Values of a batch by the adapter, unmerged; the merged backbone with the head as ``score``; the head's bias."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(options.model_name_or_path, dtype=torch.float32, local_files_only=True)
    model = PeftModel.from_pretrained(base, str(options.checkpoint)).eval()
    head = {name.rpartition(".")[2]: tensor.float() for name, tensor in load_file(options.checkpoint / HEAD).items()}
    if head["weight"].shape != (1, base.config.hidden_size):
        raise UserError(f"{options.checkpoint}: its value head is not of {options.model_name_or_path}'s width")
    bias = head.get("bias", torch.zeros(1))
    with torch.inference_mode():
        hidden = model(input_ids=ids % base.config.vocab_size, output_hidden_states=True).hidden_states[-1][:, -1]
        values = (hidden.float() @ head["weight"].T + bias).squeeze(-1)
    merged = model.merge_and_unload().model.state_dict()
    tensors = {f"model.{name}": tensor for name, tensor in merged.items()} | {"score.weight": head["weight"]}
    return values, tensors, float(bias)


def _classification(base: Path) -> dict[str, Any]:
    """What makes a model's configuration that of a classifier with one score, which finds the last token by the padding."""
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    config = AutoConfig.from_pretrained(base, local_files_only=True)
    kinds = AutoModelForSequenceClassification._model_mapping
    if type(config) not in kinds:
        raise UserError(f"{base}: transformers has no sequence classification for {config.model_type}")
    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
    labels = {"num_labels": 1, "id2label": {"0": "score"}, "label2id": {"score": 0}}
    return {**labels, "architectures": [kinds[type(config)].__name__], "pad_token_id": tokenizer.pad_token_id}


def scores_of(folder: Path, ids: Tensor) -> Tensor:
    """Scores of rows of token ids by a converted model in float32, as transformers gives them.

    Raises:
        UserError: weights are missing.
    """
    from transformers import AutoModelForSequenceClassification

    load = AutoModelForSequenceClassification.from_pretrained
    model, info = load(folder, dtype=torch.float32, output_loading_info=True, local_files_only=True)
    if wrong := [*info["missing_keys"], *info["unexpected_keys"], *info["mismatched_keys"]]:
        raise UserError(f"{folder}: transformers does not find its weights in it ({wrong[0]})")
    with torch.inference_mode():
        rows = ids % model.config.vocab_size
        found: Tensor = model(input_ids=rows, attention_mask=torch.ones_like(rows)).logits.squeeze(-1)
    return found.float()


if __name__ == "__main__":
    run_command(single(rm2hf))
