"""The keys of a GRPO recipe: each takes effect, and mistakes end in one line."""

import dataclasses
import json
from pathlib import Path

import pytest
import yaml

from support.grpo_world import example, make_world, recipe, write_rows
from text2sql.errors import UserError
from text2sql.train.__main__ import train

trl = pytest.importorskip("trl")
pytest.importorskip("llamafactory")

from text2sql.grpo.hparams import GRPOArguments, build_config, read_arguments, trl_fields  # noqa: E402
from text2sql.grpo.workflow import to_example  # noqa: E402
from text2sql.llamafactory import argument_classes, find_stage, register  # noqa: E402


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grpo")
    make_world(folder)
    return folder


# A value that is not the default for every key of TRL's that the recipe passes on.
VALUES = {
    "disable_dropout": True,
    "num_generations": 4,
    "max_completion_length": 77,
    "ds3_gather_for_generation": False,
    "shuffle_dataset": False,
    "generation_batch_size": 32,
    "steps_per_generation": 4,
    "min_p": 0.05,
    "generation_kwargs": {"num_beams": 1},
    "use_transformers_paged": True,
    "cache_implementation": "static",
    "use_vllm": True,
    "vllm_mode": "colocate",
    "vllm_model_impl": "transformers",
    "vllm_enable_sleep_mode": True,
    "vllm_guided_decoding_regex": "a+",
    "vllm_server_base_url": "http://localhost:1",
    "vllm_server_host": "localhost",
    "vllm_server_port": 9,
    "vllm_server_timeout": 3.0,
    "vllm_gpu_memory_utilization": 0.5,
    "vllm_tensor_parallel_size": 2,
    "beta": 0.04,
    "num_iterations": 2,
    "epsilon": 0.1,
    "delta": 2.0,
    "epsilon_high": 0.28,
    "importance_sampling_level": "sequence",
    "scale_rewards": "batch",
    "loss_type": "dr_grpo",
    "mask_truncated_completions": True,
    "sync_ref_model": True,
    "ref_model_mixup_alpha": 0.5,
    "ref_model_sync_steps": 3,
    "top_entropy_quantile": 0.2,
    "use_liger_loss": True,
    "vllm_importance_sampling_correction": False,
    "vllm_importance_sampling_cap": 1.5,
    "log_completions": True,
    "num_completions_to_print": 3,
    "wandb_log_unique_prompts": True,
    "temperature": 0.7,
    "top_p": 0.9,
    "top_k": 11,
    "repetition_penalty": 1.1,
    "learning_rate": 3e-4,
    "max_grad_norm": 0.3,
    "logging_steps": 3,
    "seed": 99,
    "run_name": "mine",
    "lr_scheduler_type": "constant",
    "per_device_eval_batch_size": 5,
    "eval_on_start": True,
}


def parsed(given: dict):
    """``given`` by LLaMA-Factory's classes as the stage widens them: training and fine-tuning arguments."""
    from llamafactory.hparams import parser
    from transformers import HfArgumentParser

    parts = HfArgumentParser(argument_classes(parser._TRAIN_ARGS)).parse_dict(given, allow_extra_keys=False)
    return parts[2], parts[3]


def test_no_key_of_trl_is_forgotten() -> None:
    assert {f.name for f in trl_fields()} <= VALUES.keys()


@pytest.mark.parametrize("key", VALUES)
def test_every_key_reaches_the_trainers_configuration(key: str, world: Path) -> None:
    given = recipe(world) | {key: VALUES[key]}
    config = build_config(*parsed(given), given)
    assert isinstance(config, trl.GRPOConfig)
    assert getattr(config, key) == VALUES[key]
    assert config.max_prompt_length == given["cutoff_len"], (
        "what vLLM reserves with the completion; longer ones are left out"
    )


def test_sampling_has_trls_defaults_not_those_of_inference(world: Path) -> None:
    given = recipe(world)
    config = build_config(*parsed(given), given)
    assert (config.temperature, config.top_p, config.top_k) == (1.0, 1.0, None)


def test_every_key_of_ours_reaches_the_settings(world: Path) -> None:
    values = {
        "reward_funcs": "execution, length",
        "reward_weights": {"length": 2},
        "reward_params": {"length": {"limit": 9}},
        "database_root": "some/where",
        "timeout": 1.5,
        "reward_protocol": "spider-exec",
        "reward_jobs": 3,
        "answer_format": "process",
        "issues": ["my_issues"],
        "system_prompt": "Answer.",
        "eval_samples": 4,
    }
    assert values.keys() == {f.name for f in dataclasses.fields(GRPOArguments)}
    settings = read_arguments(vars(parsed(recipe(world) | values)[1]))
    assert settings.reward_funcs == ["execution", "length"]
    assert settings.database_root == Path("some/where")
    for key in values.keys() - {"reward_funcs", "database_root"}:
        assert getattr(settings, key) == values[key]


def test_disable_shuffling_reaches_trl(world: Path) -> None:
    given = recipe(world) | {"disable_shuffling": True}
    assert build_config(*parsed(given), given).shuffle_dataset is False


def test_other_stages_stay_llamafactorys(monkeypatch: pytest.MonkeyPatch) -> None:
    from llamafactory.hparams import FinetuningArguments, parser
    from llamafactory.train import tuner

    for name in ("_TRAIN_ARGS", "_INFER_ARGS", "_EVAL_ARGS", "_TRAIN_MCA_ARGS"):
        monkeypatch.setattr(parser, name, list(getattr(parser, name)))
    calls = []
    monkeypatch.setattr(tuner, "_training_function", calls.append)
    register()
    classes = list(parser._TRAIN_ARGS)
    assert FinetuningArguments not in classes
    register()
    assert classes == parser._TRAIN_ARGS, "twice changes nothing"
    tuner._training_function({"args": {"stage": "sft"}, "callbacks": []})
    assert [call["args"] for call in calls] == [{"stage": "sft"}]
    assert [type(callback).__name__ for callback in calls[0]["callbacks"]] == [
        "LayoutCallback",
        "PerformanceCallback",
    ]
    assert find_stage({"stage": "grpo"}) is not None
    assert find_stage({}) is find_stage({"stage": "dpo"}) is None


# --- mistakes ------------------------------------------------------------------------------------------------------

MISTAKES = [
    ({"num_generation": 4}, ["'num_generation'", "'num_generations'"]),
    ({"max_prompt_length": 99}, ["'max_prompt_length'"]),
    ({"num_generations": "many"}, ["num_generations", "whole number"]),
    ({"reward_funcs": ["exekution"]}, ["'exekution'", "'execution'"]),
    ({"reward_funcs": ["no_such_module:f"]}, ["no_such_module"]),
    ({"reward_weights": {"length": 1}}, ["reward_weights", "'length'"]),
    ({"reward_weights": [1, 2, 3]}, ["3 weights for 2 rewards"]),
    ({"reward_params": {"execution": {"speed": 1}}}, ["'execution'", "'speed'"]),
    ({"database_root": "nowhere"}, ["nowhere", "database_root"]),
    ({"database_root": None}, ["database_root"]),
    ({"reward_protocol": "guess"}, ["guess"]),
    ({"timeout": 0}, ["timeout should be greater than or equal to 0.01, not 0"]),
    ({"timeout": "long"}, ["timeout should be a number, not 'long'"]),
    ({"sql_timeout": 3}, ["unknown key 'sql_timeout'; it is called 'timeout' now"]),
    ({"reward_jobs": -1}, ["reward_jobs", "-1"]),
    ({"reward_weights": 2}, ["reward_weights: should be a mapping", "not 2"]),
    ({"reward_params": "fast"}, ["reward_params", "'fast'"]),
    ({"eval_samples": 0}, ["eval_samples", "0"]),
    ({"answer_format": "haiku"}, ["answer_format", "reasoning"]),
    ({"answer_format": "process"}, ["enable_thinking=true"]),
    ({"per_device_train_batch_size": 6}, ["6 completions", "num_generations=4"]),
    ({"num_iterations": 2, "save_steps": 3}, ["save_steps=3", "multiple of 2"]),
    ({"load_best_model_at_end": True, "metric_for_best_model": "eval_loss"}, ["execution_accuracy"]),
    ({"eval_examples": __file__}, ["eval_examples", "GRPO answers the questions of eval_dataset"]),
    ({"use_ray": True}, ["use_ray"]),
    ({"use_vllm": True, "vllm_mode": "fast"}, ["vllm_mode", "server or colocate", "'fast'"]),
]


@pytest.mark.parametrize(("wrong", "words"), MISTAKES, ids=lambda v: str(v)[:40])
def test_mistakes_end_in_one_line(
    wrong: dict, words: list[str], world: Path, tmp_path: Path, their_rewards: None
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe(world) | {"output_dir": str(tmp_path / "out")} | wrong), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        train(path, [])
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
    assert not (tmp_path / "out").exists(), "nothing may be left behind"


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (None, "use_vllm needs vLLM 0.10.2 to 0.11 in the training environment, and there is none"),
        ("0.32.0", "TRL knows vLLM 0.10.2 to 0.11, here is 0.32.0"),
        ("0.10.2", "need a GPU, and torch sees none"),
    ],
)
def test_vllm_rollouts_are_refused_where_they_cannot_run(
    version: str | None, words: str, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import metadata

    from text2sql.grpo import preflight

    def found(name: str) -> str:
        if version is None:
            raise metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(preflight.importlib.metadata, "version", found)
    given = recipe(world) | {"use_vllm": True, "vllm_mode": "colocate", "reward_funcs": ["execution"]}
    with pytest.raises(UserError, match=words):
        preflight.check(given, Path("r.yaml"), processes=1, gpus=0)


def test_vllm_rollouts_are_allowed_where_they_can_run(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from text2sql.grpo import preflight

    monkeypatch.setattr(preflight.importlib.metadata, "version", lambda _: "0.11.0")
    given = recipe(world) | {"use_vllm": True, "vllm_mode": "colocate", "reward_funcs": ["execution"]}
    preflight.check(given, Path("r.yaml"), processes=1, gpus=1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"db_id": None}, ["rows.jsonl:3", "db_id"]),
        ({"sql": " "}, ["row 3 (q2)", "sql is empty"]),
        ({"db_id": "gone"}, ["row 3 (q2)", "gone.sqlite"]),
    ],
)
def test_rows_that_cannot_be_rewarded_are_named(
    change: dict, words: list[str], world: Path, tmp_path: Path, their_rewards: None
) -> None:
    rows = [example(i).__dict__ for i in range(4)]
    rows[2] = {k: v for k, v in (rows[2] | change).items() if v is not None}
    write_rows(tmp_path / "rows.jsonl", rows)
    (tmp_path / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.jsonl"}}), encoding="utf-8")
    path = tmp_path / "recipe.yaml"
    given = recipe(world) | {"dataset_dir": str(tmp_path), "output_dir": str(tmp_path / "out")}
    path.write_text(yaml.safe_dump(given), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        train(path, [])
    assert all(word in str(caught.value) for word in words), caught.value
    with pytest.raises(UserError, match="q2" if "db_id" not in change or change["db_id"] else "no db_id"):
        to_example(rows[2] | {"db_id": ""})
