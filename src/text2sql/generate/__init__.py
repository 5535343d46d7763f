"""Text from chat messages by one of three engines: vLLM, transformers, or an OpenAI-compatible endpoint.

Callers open an engine, send chat messages (from :mod:`text2sql.prompts`) and get text; the key ``engine`` of a recipe names
the engine. The model's ``generation_config.json`` has no effect: every setting comes from :class:`Decoding`. No engine uses
a repetition penalty, because a correct query copies identifiers from the prompt, which that would punish.
"""

from text2sql.generate.engines import open_engine
from text2sql.generate.types import Completion, Decoding, Engine, EngineSettings, Request

__all__ = ["Completion", "Decoding", "Engine", "EngineSettings", "Request", "open_engine"]
