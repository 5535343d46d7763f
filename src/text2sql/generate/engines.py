"""Picks the engine. ``auto`` takes vLLM where its environment was set up and transformers otherwise."""

import os
from pathlib import Path

from text2sql.checkpoint.model import check_adapter, check_model
from text2sql.errors import UserError
from text2sql.generate.types import Engine, EngineSettings


def vllm_python() -> Path | None:
    """The interpreter of the vLLM environment, or None where there is none; ``TEXT2SQL_ENV_DIR`` says where to look."""
    home = Path(os.environ.get("TEXT2SQL_ENV_DIR") or Path(__file__).parents[3]) / ".venv-vllm"
    installed = any(home.glob("lib/python3*/site-packages/vllm/__init__.py"))
    python = home / "bin" / "python"
    return python if python.is_file() and installed else None


def resolve_engine(settings: EngineSettings) -> str:
    """The engine that ``settings`` means on this machine.

    Raises:
        UserError: ``vllm`` without its environment, or ``openai`` without an address.
    """
    if settings.engine == "openai" and not settings.base_urls:
        raise UserError("engine: openai needs base_urls, for example base_urls=[http://localhost:8000/v1]")
    if settings.engine == "vllm" and vllm_python() is None:
        raise UserError(
            "engine: vllm needs .venv-vllm; make it with `bash scripts/setup.sh vllm`, or use engine=transformers"
        )
    if settings.engine == "auto":
        return "vllm" if vllm_python() else "transformers"
    return settings.engine


def open_engine(settings: EngineSettings) -> Engine:
    """Load the model and return an engine ready to generate; use it as a context manager.

    Raises:
        UserError: a missing or broken model folder, an adapter of another base, an engine that is not installed, or a
            server that does not answer.
    """
    name = resolve_engine(settings)
    if name == "openai":
        from text2sql.generate.endpoint import EndpointEngine

        return EndpointEngine(settings)
    check_model(Path(settings.model))
    if settings.adapter is not None:
        check_adapter(settings.adapter, Path(settings.model))
    if name == "vllm":
        from text2sql.generate.vllm_engine import VllmEngine

        return VllmEngine(settings)
    from text2sql.generate.hf import TransformersEngine

    return TransformersEngine(settings)
