"""Chooses the engine: ``auto`` is vLLM where its environment is installed, and transformers otherwise."""

from pathlib import Path

from text2sql.checkpoint.model import check_adapter, check_model
from text2sql.errors import UserError
from text2sql.generate.hf import TransformersEngine
from text2sql.generate.types import Engine, EngineSettings
from text2sql.generate.vllm_engine import VllmEngine, vllm_python


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
    check_model(Path(settings.model))
    if settings.adapter is not None:
        check_adapter(settings.adapter, Path(settings.model))
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
