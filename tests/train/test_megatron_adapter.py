"""``USE_MCA=1`` through llamafactory-cli, tensor-parallel over two processes, has Hugging Face's losses; and comes back.

Runs where mcore_adapter is installed (its home is the folder mcore_adapter of the repository alibaba/ROLL; the package
index has only another project's). On a machine without CUDA it runs on CPUs through tests/support/megatron_shim.py.
"""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from safetensors.torch import load_file

from support.loss_curves import compare_curves, read_curve
from support.tiny_model import make_model
from text2sql.checkpoint.convert import Mg2hfOptions, convert
from text2sql.checkpoint.model import folder_shapes
from text2sql.checkpoint.run import is_whole
from text2sql.recipe.megatron import OWN, adapter_is_here

logger = logging.getLogger(__name__)
ROOT = Path(__file__).parents[2]
STEPS = 6
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not adapter_is_here(), reason="mcore_adapter (alibaba/ROLL, folder mcore_adapter) is not installed"
    ),
]

# What a process of torchrun's needs on a CPU beside the shim: random state by the names that the adapter asks for, files
# read to "cpu:0", which is what it calls its device, and a copy of float32 logits, which Megatron's loss changes in place
# although the adapter's hook has made them a view.
SITE = """
import os
if "LOCAL_RANK" in os.environ and os.environ.get("USE_MCA"):
    import torch
    if not torch.cuda.is_available():
        from support import megatron_shim
        torch.cpu.get_rng_state, torch.cpu.set_rng_state = torch.get_rng_state, torch.set_rng_state
        numbered = lambda storage, place: storage if place.startswith("cpu:") else None
        torch.serialization.register_package(0, lambda storage: None, numbered)
    from megatron.core.tensor_parallel.cross_entropy import VocabParallelCrossEntropy as Loss
    theirs = Loss.calculate_logits_max
    Loss.calculate_logits_max = staticmethod(lambda logits: theirs(logits.clone()))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    make_model(folder / "base", layers=4, vocab_size=448)
    turns = [("How many shops?", "SELECT count(*) FROM shop;"), ("Names of all shops?", "SELECT name FROM shop;")] * 12
    rows = [{"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]} for q, a in turns]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    info = json.loads((ROOT / "data/dataset_info.json").read_text(encoding="utf-8"))["toy_train"]
    (folder / "dataset_info.json").write_text(
        json.dumps({"rows": info | {"file_name": "rows.jsonl"}}), encoding="utf-8"
    )
    (folder / "site").mkdir()
    (folder / "site/sitecustomize.py").write_text(SITE, encoding="utf-8")
    return folder


def train(place: Path, name: str, tensor: int = 0, **keys: object) -> Path:
    """The tiny Megatron recipe for a few steps in float32; ``tensor`` 0 trains the same by Hugging Face in one process."""
    recipe = yaml.safe_load((ROOT / "recipes/tiny/full_sft_megatron.yaml").read_text(encoding="utf-8"))
    recipe |= {
        "model_name_or_path": str(place / "base"),
        "output_dir": str(place / name),
        "dataset_dir": str(place),
        "dataset": "rows",
        "use_cpu": True,
        "bf16": False,
        "max_steps": STEPS,
        "warmup_steps": 2,
        "logging_steps": 1,
        "save_steps": STEPS // 2,
        "eval_strategy": "no",
        "report_to": "none",
        "plot_loss": False,
        "cutoff_len": 128,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "learning_rate": 1e-3,
        **keys,
    }
    del recipe["eval_dataset"], recipe["global_batch"]
    given = {"OMP_NUM_THREADS": "1", "DISABLE_VERSION_CHECK": "1", "NPROC_PER_NODE": str(max(tensor, 1))}
    if tensor:
        recipe |= {"tensor_model_parallel_size": tensor, "pipeline_model_parallel_size": 1, "ddp_backend": "gloo"}
        paths = [str(place / "site"), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
        given |= {"USE_MCA": "1", "PYTHONPATH": os.pathsep.join(paths)}
    else:
        recipe = {key: value for key, value in recipe.items() if key not in OWN}
        recipe |= {"disable_shuffling": True, "flash_attn": "sdpa", "disable_gradient_checkpointing": True}
    (place / f"{name}.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    run([str(Path(sys.executable).parent / "llamafactory-cli"), "train", str(place / f"{name}.yaml")], **given)
    return place / name


def run(command: list[str], **given: str) -> None:
    environment = os.environ | given | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]


@pytest.fixture(scope="module")
def single(place: Path) -> Path:
    return train(place, "hf")


@pytest.fixture(scope="module", params=[1, 2], ids=["tp1", "tp2"])
def spread(request: pytest.FixtureRequest, place: Path) -> SimpleNamespace:
    """A run of mcore_adapter's, and how many processes shared each layer."""
    return SimpleNamespace(run=train(place, f"tp{request.param}", request.param), tensor=request.param)


def difference(one: Path, other: Path) -> float:
    """The largest absolute difference of two models' weights."""
    ours, theirs = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert ours.keys() == theirs.keys()
    return max(float((tensor - theirs[name]).abs().max()) for name, tensor in ours.items())


def test_losses_are_hugging_faces(single: Path, spread: SimpleNamespace) -> None:
    curve = read_curve(spread.run)
    assert len(curve) == STEPS
    first, worst = compare_curves(read_curve(single), curve)
    logger.info("tp%d: losses %s, first differs by %.1e, worst by %.1e", spread.tensor, [*curve.values()], first, worst)
    assert max(first, worst) < 2e-4, "logged losses have four decimals"


def test_the_checkpoint_comes_back(place: Path, single: Path, spread: SimpleNamespace) -> None:
    """The script's result has the weights of mcore_adapter's own converter, and those that Hugging Face trained."""
    assert is_whole(spread.run / f"checkpoint-{STEPS // 2}", spread.tensor)
    out = place / f"tp{spread.tensor}_hf"
    keys = [
        f"checkpoint={spread.run}",
        f"output_dir={out}",
        f"model_name_or_path={place / 'base'}",
        f"reference={single}",
    ]
    run(["bash", "scripts/mg2hf.sh", "recipes/tiny/mg2hf.yaml", *keys])
    report = json.loads((out / "conversion.json").read_text(encoding="utf-8"))["compared"]
    assert report["source"] == f"Megatron checkpoint (tensor {spread.tensor} x pipeline 1)"
    assert report["adapter_tensors"] == len(folder_shapes(place / "base"))
    apart, moved = difference(out, single), difference(out, place / "base")
    logger.info(
        "tp%d: weights within %.1e of Hugging Face's (moved by %.1e), logits within %.1e, %d tensors as by mcore_adapter's converter",
        spread.tensor,
        apart,
        moved,
        report["logits_difference"],
        report["adapter_tensors"],
    )
    assert apart < 1e-4 < 1e-3 < moved, "Adam's steps are about as large where a gradient is next to nothing"
    assert report["logits_difference"] < 1e-3


def test_a_run_goes_on_from_its_checkpoint(place: Path, spread: SimpleNamespace) -> None:
    if spread.tensor == 1:
        pytest.skip("seen with two processes; one more start would take half a minute")
    begun = spread.run / f"checkpoint-{STEPS // 2}"
    again = train(place, f"tp{spread.tensor}_again", spread.tensor, resume_from_checkpoint=str(begun))
    assert read_curve(again) == read_curve(spread.run)
    whole = [
        convert(Mg2hfOptions(checkpoint=run, output_dir=place / f"{run.name}_whole", model_name_or_path=place / "base"))
        for run in (spread.run, again)
    ]
    assert whole[0].equal_tensors == whole[1].equal_tensors
    apart = difference(place / f"{spread.run.name}_whole", place / f"{again.name}_whole")
    logger.info("tp%d: resumed run's weights within %.1e of the uninterrupted one's", spread.tensor, apart)
    assert apart < 1e-6
