"""One function behind which three engines stand: vLLM, transformers and any OpenAI-compatible endpoint.

Callers send chat messages (from :mod:`text2sql.prompts`) and get text; which engine answers is one word in a recipe.
Nothing is decided by the model's ``generation_config.json``: every setting comes from :class:`Decoding`, and there is
no repetition penalty anywhere, because it punishes what a correct query must do, copying identifiers from the prompt.
"""

from collections.abc import Sequence

from text2sql.generate.engines import open_engine, vllm_python
from text2sql.generate.types import Completion, Decoding, Engine, EngineSettings, Request
from text2sql.prompts import Message

__all__ = ["Completion", "Decoding", "Engine", "EngineSettings", "Request", "generate", "open_engine", "vllm_python"]


def generate(chats: Sequence[list[Message]], settings: EngineSettings, decoding: Decoding) -> list[list[str]]:
    """Open the engine, answer every chat and close it; returns ``decoding.n`` texts a chat, in the chats' order.

    Raises:
        UserError: as :func:`open_engine` does.
    """
    requests = [Request(str(index), messages) for index, messages in enumerate(chats)]
    answers: list[list[str]] = [[] for _ in chats]
    with open_engine(settings) as engine:
        for completion in engine.generate(requests, decoding):
            answers[int(completion.key)].append(completion.text)
    return answers
