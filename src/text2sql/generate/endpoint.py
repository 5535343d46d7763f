"""The openai engine: any OpenAI-compatible server, or several behind which the same model stands.

Scale comes from more servers, not from code here: requests are dealt out in turn, and one that a server fails goes
to the next.
"""

import itertools
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Self

from openai import APIConnectionError, APIStatusError, BadRequestError, OpenAI, OpenAIError

from text2sql.errors import UserError
from text2sql.generate.types import Completion, Decoding, EngineSettings, FinishReason, Request

logger = logging.getLogger(__name__)

_TAKES_EXTRAS = ("vllm", "sglang", "text2sql")
_RETRIES = 4
_TIMEOUT_SECONDS = 600.0


class EndpointEngine:
    """A client of the servers at ``base_urls``. Satisfies :class:`text2sql.generate.types.Engine`.

    ``batch_size`` requests are in flight at each server. The key is read from ``OPENAI_API_KEY``; local servers need
    none. ``enable_thinking`` and ``top_k`` reach servers that name themselves vllm or sglang; others do not know them.

    Raises:
        UserError: a server does not answer, or does not have the model.
    """

    name = "openai"

    def __init__(self, settings: EngineSettings) -> None:
        key = os.environ.get("OPENAI_API_KEY", "none")
        self.settings = settings
        self.clients = [
            OpenAI(base_url=url, api_key=key, max_retries=_RETRIES, timeout=_TIMEOUT_SECONDS)
            for url in settings.base_urls
        ]
        served = [_served_models(client) for client in self.clients]
        self.model = settings.model or next(iter(served[0]), "")
        for client, models in zip(self.clients, served, strict=True):
            if self.model not in models:
                raise UserError(
                    f"{client.base_url}: has no model {self.model!r}; it serves {', '.join(models) or 'none'}"
                )
        self.extras = all(models[self.model] in _TAKES_EXTRAS for models in served)

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Completion]:
        """Yield completions as servers answer."""
        turns = itertools.cycle(range(len(self.clients)))
        pool = ThreadPoolExecutor(self.settings.batch_size * len(self.clients))
        try:
            waiting = [
                pool.submit(self._answer, request, decoding, turn)
                for request, turn in zip(requests, turns, strict=False)
            ]
            for future in as_completed(waiting):
                yield from future.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _answer(self, request: Request, decoding: Decoding, turn: int) -> list[Completion]:
        last: OpenAIError | None = None
        for client in (self.clients[turn:] + self.clients[:turn])[: len(self.clients)]:
            try:
                reply = client.chat.completions.create(**self._payload(request, decoding))
            except BadRequestError as error:
                if "context length" in str(error) or "too long" in str(error):
                    return [Completion(request.key, i, "", "prompt_too_long", 0, 0) for i in range(decoding.n)]
                raise UserError(f"{client.base_url}: refused {request.key}: {_line(error)}") from error
            except OpenAIError as error:
                logger.warning("%s: %s", client.base_url, _line(error))
                last = error
                continue
            return _completions(request, reply, decoding)
        raise UserError(f"no server answered {request.key}; the last said: {_line(last)}") from last

    def _payload(self, request: Request, decoding: Decoding) -> dict[str, Any]:
        payload: dict[str, Any] = {
            "model": self.model,
            "messages": request.messages,
            "temperature": decoding.temperature,
            "top_p": decoding.top_p,
            "n": decoding.n,
            "max_tokens": decoding.max_new_tokens,
            "seed": decoding.seed,
        }
        if decoding.stop:
            payload["stop"] = list(decoding.stop)
        if self.extras:
            extra: dict[str, Any] = {"top_k": decoding.top_k or -1, "repetition_penalty": 1.0}
            if self.settings.enable_thinking is not None:
                extra["chat_template_kwargs"] = {"enable_thinking": self.settings.enable_thinking}
            payload["extra_body"] = extra
        return payload

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for client in self.clients:
            client.close()


def _served_models(client: OpenAI) -> dict[str, str]:
    """Names of the models at a server, with who it says owns them."""
    try:
        return {model.id: model.owned_by for model in client.models.list()}
    except APIConnectionError as error:
        raise UserError(
            f"{client.base_url}: no server answers; start one (vllm serve MODEL) or correct base_urls"
        ) from error
    except APIStatusError as error:
        raise UserError(f"{client.base_url}: {_line(error)}") from error


def _completions(request: Request, reply: Any, decoding: Decoding) -> list[Completion]:
    used, count = reply.usage, max(1, len(reply.choices))
    completions = []
    for sample, choice in enumerate(reply.choices):
        reason: FinishReason = "length" if choice.finish_reason == "length" else "stop"
        new = (used.completion_tokens // count) if used else 0
        text = _with_reasoning(choice.message)
        completions.append(Completion(request.key, sample, text, reason, used.prompt_tokens if used else 0, new))
    if len(completions) != decoding.n:
        raise UserError(f"the server gave {len(completions)} of {decoding.n} samples; it does not support n")
    return completions


def _with_reasoning(message: Any) -> str:
    """The answer, with the thinking that some servers split off put back in front."""
    thought = getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None)
    answer = message.content or ""
    return f"<think>\n{thought}\n</think>\n\n{answer}" if thought else answer


def _line(error: object) -> str:
    return " ".join(str(error).split())[:300]
