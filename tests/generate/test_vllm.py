"""Where vLLM is found, and on which GPUs its workers run; what they answer is in test_generate.py and tests/test_infer.py."""

import sys
from pathlib import Path

import pytest

from text2sql.errors import UserError
from text2sql.generate import EngineSettings
from text2sql.generate.vllm_engine import gpu_groups, vllm_python, worker_settings


def test_worker_needs_nothing_of_ours():
    source = (Path(__file__).parents[2] / "src/text2sql/generate/vllm_worker.py").read_text()
    assert "text2sql" not in source


def test_vllm_is_found_in_this_environment_or_in_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("TEXT2SQL_ENV_DIR", str(tmp_path))
    monkeypatch.setattr("text2sql.generate.vllm_engine.find_spec", lambda name: None)
    assert vllm_python() is None
    package = tmp_path / ".venv-vllm/lib/python3.11/site-packages/vllm/__init__.py"
    package.parent.mkdir(parents=True)
    package.touch()
    assert vllm_python() is None, "without an interpreter it is half made"
    (tmp_path / ".venv-vllm/bin").mkdir()
    (tmp_path / ".venv-vllm/bin/python").touch()
    assert vllm_python() == tmp_path / ".venv-vllm/bin/python"
    monkeypatch.setattr("text2sql.generate.vllm_engine.find_spec", lambda name: name == "vllm")
    assert vllm_python() == Path(sys.executable), "with CUDA builds one environment has both"


@pytest.mark.parametrize(
    ("gpus", "visible", "keys", "expected"),
    [
        (0, None, {"data_parallel_size": "auto"}, [None]),
        (0, None, {"data_parallel_size": 2}, [None, None]),
        (4, None, {}, ["0"]),
        (4, None, {"data_parallel_size": "auto"}, ["0", "1", "2", "3"]),
        (3, None, {"data_parallel_size": "auto", "tensor_parallel_size": 2}, ["0,1"]),
        (4, "7,5,GPU-ab,1", {"data_parallel_size": 2, "tensor_parallel_size": 2}, ["7,5", "GPU-ab,1"]),
        (2, None, {"data_parallel_size": 3}, "needs 3 GPUs, and there are 2"),
        (1, None, {"data_parallel_size": "auto", "tensor_parallel_size": 2}, "needs 2 GPUs, and there are 1"),
        (0, None, {"tensor_parallel_size": 2}, "needs 2 GPUs, and there are 0"),
        (2, None, {"data_parallel_size": 0}, "1 or more"),
        (2, None, {"gpu_memory_utilization": 1.5}, "at most 1"),
    ],
)
def test_workers_get_the_gpus_there_are(gpus, visible, keys, expected, monkeypatch):
    monkeypatch.setattr("text2sql.generate.vllm_engine.gpu_count", lambda: gpus)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    settings = EngineSettings(model_name_or_path="x", engine="vllm", **keys)
    if isinstance(expected, list):
        assert gpu_groups(settings) == expected
    else:
        with pytest.raises(UserError, match=expected):
            gpu_groups(settings)


def test_sizes_reach_vllm(monkeypatch):
    monkeypatch.setattr("text2sql.generate.vllm_engine.gpu_count", lambda: 2)
    settings = EngineSettings(model_name_or_path="x", tensor_parallel_size=2, gpu_memory_utilization=0.5)
    llm = worker_settings(settings, 512)["llm"]
    assert (llm["tensor_parallel_size"], llm["gpu_memory_utilization"], llm["dtype"]) == (2, 0.5, "bfloat16")
