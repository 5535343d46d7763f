"""Training and merging recipes: LLaMA-Factory's own parser takes every key at its word, and the headers tell the truth."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from support.recipes import MEGATRON, ROOT, engine, load

TRAIN = sorted(p for p in ROOT.glob("recipes/*/**/*.yaml") if "do_train" in load(p) and p not in MEGATRON)
EXPORT = sorted(p for p in ROOT.glob("recipes/*/**/*.yaml") if "export_dir" in load(p))
OWN = [p for p in TRAIN + EXPORT if p.parent.name in ("tiny", "qwen3_1p7b")]
SFT = ("lora_qv_sft", "lora_all_sft", "full_sft", "full_sft_zero2_tp")
GRPO = ("reward_funcs answer_format num_generations temperature loss_type scale_rewards beta epsilon_high").split()

# One process parses all recipes, because LLaMA-Factory takes seconds to import and DeepSpeed settings stay in force
# once read. use_cpu lets recipes for GPUs be parsed where there are none.
PARSE = """
import enum, json, sys
from llamafactory.hparams import parser
from text2sql.llamafactory import argument_classes, find_stage
from text2sql.llamafactory.arguments import known_arguments
from transformers import HfArgumentParser
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

def plain(value):
    if isinstance(value, enum.Enum):
        return value.value
    return value if isinstance(value, (bool, int, float, str, list, type(None))) else str(value)

found = {}
for path, (kind, recipe) in json.load(sys.stdin).items():
    classes = argument_classes(parser._TRAIN_ARGS) if kind == "train" else parser._INFER_ARGS
    known = known_arguments(kind, ours=find_stage(recipe) is not None)
    assert recipe.keys() <= known.keys(), (path, recipe.keys() - known.keys())
    given = recipe | ({"use_cpu": True} if kind == "train" else {})
    parsed = HfArgumentParser(classes).parse_dict(given, allow_extra_keys=False)
    unset_hf_deepspeed_config()
    values = {}
    for part in parsed:
        values.update({key: plain(getattr(part, key)) for key in recipe if hasattr(part, key)})
    found[path] = values
print("\\n" + json.dumps(found))
"""


def header(path: Path) -> dict[str, str]:
    """The labelled parts of a recipe's opening comment."""
    parts: dict[str, str] = {}
    label = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        found = re.match(r"# (Launch|Hardware|Memory|Batch|Expected|Needs|Writes)\s+(.*)", line)
        if found:
            label = found[1]
        parts[label] = f"{parts.get(label, '')} {found[2] if found else line[1:].strip()}".strip()
        if line == "#":
            label = ""
    return parts


@pytest.fixture(scope="module")
def parsed() -> dict[str, dict]:
    recipes = {str(p): ("train", engine(p)) for p in TRAIN} | {str(p): ("export", load(p)) for p in EXPORT}
    done = subprocess.run(
        [sys.executable, "-c", PARSE], input=json.dumps(recipes), capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def listed(value) -> list[str]:
    return [str(v) for v in value] if isinstance(value, list) else [v.strip() for v in str(value).split(",")]


@pytest.mark.parametrize("path", TRAIN + EXPORT, ids=lambda p: str(p.relative_to(ROOT / "recipes")))
def test_every_key_is_accepted_and_takes_effect(path: Path, parsed: dict[str, dict]) -> None:
    values = parsed[str(path)]
    recipe = engine(path)
    if recipe.get("packing"):
        recipe["cutoff_len"] -= 1  # LLaMA-Factory keeps one place free, so that padding cannot add a sequence
    for key, value in recipe.items():
        assert key in values, f"{key} is parsed into nothing"
        assert values[key] == value or listed(values[key]) == listed(value), key


@pytest.mark.parametrize("path", OWN + MEGATRON, ids=lambda p: str(p.relative_to(ROOT / "recipes")))
def test_header_states_the_five_things(path: Path) -> None:
    parts = header(path)
    for label in ("Launch", "Hardware", "Memory", "Batch", "Expected"):
        assert parts.get(label), label
    words = parts["Launch"].split()
    command, script, recipe = words[words[0].startswith("NPROC_PER_NODE=") :][:3]
    assert command == "bash"
    assert (ROOT / script).is_file()
    assert ROOT / recipe == path


@pytest.mark.parametrize(
    "path", [p for p in OWN if p in TRAIN] + MEGATRON, ids=lambda p: str(p.relative_to(ROOT / "recipes"))
)
def test_batch_arithmetic_is_that_of_the_keys(path: Path) -> None:
    recipe, text = load(path), header(path)["Batch"]
    factors = re.match(
        r"(\d+) (?:sequences?|examples|completions)(?: x (\d+) accumulated)? x (\d+) "
        r"(?:(?:pairs?|groups?) of )?(?:GPUs?|process(?:es)?) = (\d+)",
        text,
    )
    assert factors, text
    batch, accumulated, devices, total = (int(factor or 1) for factor in factors.groups())
    assert batch == recipe["per_device_train_batch_size"]
    assert "gradient_accumulation_steps" not in recipe, "follows from the global batch"
    processes = devices * (2 if "pair" in text else 1)
    assert accumulated == engine(path, processes)["gradient_accumulation_steps"]
    assert total == batch * accumulated * devices == recipe["global_batch"]
    if path.parent.name == "qwen3_1p7b":
        for more in (4, 8):
            assert engine(path, more)["gradient_accumulation_steps"] >= 1
    if recipe["stage"] == "grpo":
        prompts, generations = (int(n) for n in re.findall(r"(\d+) prompts x (\d+) generations", text)[0])
        assert (generations, prompts * generations) == (recipe["num_generations"], total)


@pytest.mark.parametrize("path", [p for p in OWN if p in TRAIN], ids=lambda p: str(p.relative_to(ROOT / "recipes")))
def test_the_best_checkpoint_can_be_kept(path: Path) -> None:
    recipe = load(path)
    assert recipe["load_best_model_at_end"] is (recipe["stage"] != "rm"), "LLaMA-Factory refuses it for reward models"
    assert recipe["save_steps"] % recipe["eval_steps"] == 0
    assert recipe.get("eval_dataset") or recipe.get("val_size")
    assert recipe.get("eval_dataset") != "spider_dev", "the split that is scored must not choose the checkpoint"
    assert recipe["enable_thinking"] is (recipe.get("answer_format") == "process"), "only that format thinks in <think>"


def test_processes_wait_for_a_lost_one_equally_long() -> None:
    assert {load(path).get("ddp_timeout", 1800) for path in TRAIN + MEGATRON} == {1800}


def commands(text: str) -> list[tuple[str, dict[str, str]]]:
    """Recipe and overrides of the commands in a recipe's header or in a README, in their order."""
    lines = re.sub(r"\\\n#?\s*", " ", text).splitlines()
    found = []
    for line in lines:
        words = line.split("   #")[0].lstrip("# ").split()
        if words[:1] == ["bash"] and len(words) > 2 and words[2].startswith("recipes/"):
            found.append((words[2], dict(word.split("=", 1) for word in words[3:] if "=" in word)))
    return found


README = commands((ROOT / "README.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["grpo_execution", "grpo_process", "grpo_reasoning"])
def test_grpo_starts_from_what_the_commands_before_it_make(name: str) -> None:
    """From LoRA on all layers, merged; on rows that are there, where the README's commands put Spider."""
    path = ROOT / f"recipes/qwen3_1p7b/{name}.yaml"
    recipe, own = load(path), commands(path.read_text(encoding="utf-8"))
    made = {name: load(ROOT / name) | given for name, given in (*README, *own)}
    sft, merged = made["recipes/qwen3_1p7b/lora_all_sft.yaml"], made["recipes/qwen3_1p7b/merge_lora.yaml"]
    assert merged["adapter_name_or_path"] == sft["output_dir"]
    assert recipe["model_name_or_path"] == merged["export_dir"]
    assert bool(recipe["enable_thinking"]) == (str(sft["enable_thinking"]).lower() == "true")
    data = made["recipes/data/spider.yaml"]
    assert data["folder"] == "data/cache/spider"
    assert data["suites"] and recipe["database_root"] == f"{data['output']}/suites"
    assert data.get("answer_format", "plain") == recipe["answer_format"]
    if name == "grpo_execution":
        info = json.loads((ROOT / "data/dataset_info.json").read_text(encoding="utf-8"))
        assert info[recipe["dataset"]]["file_name"] == "prepared/spider/examples/train.jsonl"
    else:
        assert sft["dataset_dir"] == recipe["dataset_dir"] == data["output"]
        assert (sft["dataset"], recipe["dataset"]) == (f"{data['name']}_train", f"{data['name']}_rl_grpo")
        assert float(data["split.train"]) + float(data["split.rl"]) == 1
        assert yaml.safe_load(data["formats"]) == ["messages", "grpo"]


METHOD = ["finetuning_type", "template", "enable_thinking"]
LORA = ["lora_target", "lora_rank", "lora_alpha"]
TWINS = {
    **{name: ["stage", *METHOD, *(LORA if name.startswith("lora") else [])] for name in SFT},
    "grpo_execution": ["stage", *METHOD, *LORA, *GRPO],
    "grpo_reasoning": ["stage", *METHOD, *LORA, *GRPO],
    "grpo_process": ["stage", *METHOD, *LORA, *GRPO],
    "serve": ["enable_thinking", "answer_format", "schema_style", "repair", "temperature", "host", "port", "log_text"],
    "revise_sft": ["stage", *METHOD, *LORA],
    "dpo": ["stage", *METHOD, *LORA, "pref_loss", "pref_beta", "pref_ftx"],
    "reward_model": ["stage", *METHOD, *LORA],
    "merge_lora": [*METHOD, "trust_remote_code", "export_size", "export_device", "export_legacy_format"],
}


@pytest.mark.parametrize("name", TWINS)
def test_twins_agree_on_the_method(name: str) -> None:
    large, tiny = load(ROOT / f"recipes/qwen3_1p7b/{name}.yaml"), load(ROOT / f"recipes/tiny/{name}.yaml")
    assert {key: large[key] for key in TWINS[name]} == {key: tiny[key] for key in TWINS[name]}
    if "output_dir" in large or "output_dir" in tiny:
        assert Path(large["output_dir"]).name == Path(tiny["output_dir"]).name
    for recipe in (large, tiny):  # which adapter is the profile's own choice; its merged model is named after it
        assert recipe.get("export_dir") == (
            f"{recipe['adapter_name_or_path']}_merged" if name == "merge_lora" else None
        )


def test_the_lora_recipe_everybody_knows() -> None:
    recipe = load(ROOT / "recipes/qwen3_1p7b/lora_qv_sft.yaml")
    assert (recipe["lora_rank"], recipe["lora_alpha"], recipe["lora_target"]) == (32, 64, "q_proj,v_proj")
    assert json.loads((ROOT / recipe["deepspeed"]).read_text(encoding="utf-8"))["zero_optimization"]["stage"] == 3


@pytest.mark.parametrize("path", sorted((ROOT / "recipes/deepspeed").glob("*.json")), ids=lambda p: p.name)
def test_deepspeed_settings_name_an_optimizer_and_save_whole_models(path: Path) -> None:
    settings = json.loads(path.read_text(encoding="utf-8"))
    assert settings["optimizer"]["type"] == "AdamW"
    zero = settings["zero_optimization"]
    if zero["stage"] == 3:
        assert zero["stage3_gather_16bit_weights_on_model_save"]
    if "tensor_parallel" in settings:
        assert zero["gather_16bit_weights_on_model_save"]


@pytest.mark.parametrize("path", TRAIN + EXPORT + MEGATRON, ids=lambda p: str(p.relative_to(ROOT / "recipes")))
def test_paths_are_relative(path: Path) -> None:
    for key, value in load(path).items():
        assert not (isinstance(value, str) and value.startswith(("/", "~"))), key
