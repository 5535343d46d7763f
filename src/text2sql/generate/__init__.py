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
from text2sql.generate.vllm_engine import VllmEngine, vllm_python

__all__ = ["Completion", "Decoding", "Engine", "EngineSettings", "Request", "check_engine", "open_engine"]


def check_engine(settings: EngineSettings) -> str:
    """The name of the engine that ``settings`` means on this machine, when it can open the model and the adapter.

    Raises:
        UserError: a missing or damaged model folder, an adapter of another base, ``vllm`` without its environment, or
            ``openai`` without an address.
    """
    if settings.engine == "openai":
        if not settings.base_urls:
            raise UserError("engine: openai needs base_urls, for example base_urls=[http://localhost:8000/v1]")
        return "openai"
    check_model(Path(settings.model_name_or_path))
    if settings.adapter_name_or_path is not None:
        check_adapter(settings.adapter_name_or_path, Path(settings.model_name_or_path))
    if settings.engine == "auto":
        return "vllm" if vllm_python() else "transformers"
    if settings.engine == "vllm" and vllm_python() is None:
        raise UserError(
            "engine: vllm needs .venv-vllm; make it with `bash scripts/setup.sh vllm`, or use engine=transformers"
        )
    return settings.engine


def open_engine(settings: EngineSettings) -> Engine:
    """Load the model and return an engine ready to generate; use it as a context manager.

    Raises:
        UserError: as :func:`check_engine` does, or no server answers.
    """
    name = check_engine(settings)
    if name == "openai":
        from text2sql.generate.endpoint import EndpointEngine  # its client library takes long to import

        return EndpointEngine(settings)
    return VllmEngine(settings) if name == "vllm" else TransformersEngine(settings)
