"""Text from chat messages by one of three engines: vLLM, transformers, or an OpenAI-compatible endpoint.

Callers open an engine, send chat messages (from :mod:`text2sql.prompts`) and get text; the key ``engine`` of a recipe names
the engine; ``auto`` is vLLM where its environment is installed, and transformers otherwise. The model's
``generation_config.json`` has no effect: every setting comes from :class:`Decoding`. No engine uses a repetition penalty,
because a correct query copies identifiers from the prompt, which that would punish.
"""

from pathlib import Path

from text2sql.checkpoint.model import check_adapter, check_model
from text2sql.errors import UserError
from text2sql.generate.hf import TransformersEngine
from text2sql.generate.types import Completion, Decoding, Engine, EngineSettings, Request
from text2sql.generate.vllm_engine import VllmEngine, gpu_groups, vllm_python

__all__ = ["Completion", "Decoding", "Engine", "EngineSettings", "Request", "check_engine", "open_engine"]


def check_engine(settings: EngineSettings) -> str:
    """The name of the engine that ``settings`` means on this machine, when it can open the model and the adapter.

    Raises:
        UserError: a missing or damaged model folder, an adapter of another base, ``vllm`` without its environment or with
            fewer GPUs than asked for, several GPUs asked of another engine, or ``openai`` without an address.
    """
    name: str = settings.engine
    if name == "auto":
        name = "vllm" if vllm_python() else "transformers"
    if name == "openai" and not settings.base_urls:
        raise UserError("engine: openai needs base_urls, for example base_urls=[http://localhost:8000/v1]")
    if name != "openai":
        check_model(Path(settings.model_name_or_path))
        if settings.adapter_name_or_path is not None:
            check_adapter(settings.adapter_name_or_path, Path(settings.model_name_or_path))
    if name != "vllm":
        if settings.tensor_parallel_size != 1 or settings.data_parallel_size not in (1, "auto"):
            raise UserError(f"tensor_parallel_size and data_parallel_size need engine: vllm; here it is {name}")
    elif vllm_python() is None:
        raise UserError("engine: vllm is not installed; run `bash scripts/setup.sh vllm`, or use engine=transformers")
    else:
        gpu_groups(settings)
    return name


def open_engine(settings: EngineSettings, timeout: float | None = None) -> Engine:
    """Load the model and return an engine ready to generate; use it as a context manager.

    ``timeout``: somebody waits for each answer, so a call gives up, or ends its answer, after so many seconds, and a server
    that fails is asked once more and not four times.

    Raises:
        UserError: as :func:`check_engine` does, or no server answers.
    """
    name = check_engine(settings)
    if name == "openai":
        from text2sql.generate.endpoint import EndpointEngine  # its client library takes long to import

        return EndpointEngine(settings) if timeout is None else EndpointEngine(settings, timeout, retries=1)
    return VllmEngine(settings) if name == "vllm" else TransformersEngine(settings, timeout)
