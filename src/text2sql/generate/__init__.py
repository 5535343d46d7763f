"""Text from chat messages by one of three engines: vLLM, transformers, or an OpenAI-compatible endpoint.

Callers send chat messages (from :mod:`text2sql.prompts`) and get text; a recipe's key ``engine`` names the engine. The
model's ``generation_config.json`` has no effect: every setting comes from :class:`Decoding`. No engine uses a repetition
penalty, because a correct query copies identifiers from the prompt, which that would punish.
"""

from collections.abc import Sequence

from text2sql.generate.engines import open_engine
from text2sql.generate.types import Completion, Decoding, Engine, EngineSettings, Request
from text2sql.prompts import Message

__all__ = ["Completion", "Decoding", "Engine", "EngineSettings", "Request", "generate", "open_engine"]


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
