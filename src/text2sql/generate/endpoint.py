"""The openai engine: any OpenAI-compatible server, or several that serve the same model.

More servers give more speed: requests go to them in turn, and a request that a server fails goes to the next.
"""

import logging
import os
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import openai

from text2sql.errors import UserError
from text2sql.generate.types import Completion, Decoding, Engine, EngineSettings, FinishReason, Request

logger = logging.getLogger(__name__)
for _library in ("httpx", "httpx2"):  # they log a line for every request, which would hide progress and warnings
    logging.getLogger(_library).setLevel(logging.WARNING)

_FAILURES_IN_A_ROW = 8
_TAKES_EXTRAS = ("vllm", "sglang", "text2sql")


class NoAnswerError(UserError):
    """No server answered a request. ``reason``: ``timeout``, ``connection``, ``status_500`` and the like, or ``no_chat``
    for an answer that is not a chat completion."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class EndpointEngine(Engine):
    """A client of the servers at ``base_urls``.

    ``batch_size`` requests are in flight at each server. The key is read from ``OPENAI_API_KEY``; local servers need
    none. ``enable_thinking`` and ``top_k`` reach servers that name themselves vllm or sglang; others do not know them.
    A request may take ``timeout`` seconds and is sent ``retries`` times more where a server is busy or fails.

    Raises:
        UserError: a server does not answer, or does not have the model.
    """

    name = "openai"
    concurrent = True

    def __init__(self, settings: EngineSettings, timeout: float = 600.0, retries: int = 4) -> None:
        key = os.environ.get("OPENAI_API_KEY", "none")
        self.settings, self.limit = settings, settings.max_model_len
        self.clients = [
            openai.OpenAI(base_url=url, api_key=key, max_retries=retries, timeout=timeout) for url in settings.base_urls
        ]
        served = [_served_models(client, settings.model_name_or_path) for client in self.clients]
        self.model = settings.model_name_or_path or next(iter(served[0]), "")
        for client, models in zip(self.clients, served, strict=True):
            if self.model not in models:
                raise UserError(
                    f"{client.base_url}: has no model {self.model!r}; it serves {', '.join(models) or 'none'}"
                )
        self.extras = all(models[self.model] in _TAKES_EXTRAS for models in served)

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Completion]:
        """Yield completions as servers answer; the first failure is raised when the other answers are there.

        Raises:
            NoAnswerError: no server answered a request, or none answered several in a row: the rest is not asked then.
        """
        if len(requests) == 1:  # somebody waits: no threads for one
            yield from self.answer(requests[0], decoding)
            return
        pool = ThreadPoolExecutor(self.settings.batch_size * len(self.clients))
        try:
            waiting = [pool.submit(self.answer, request, decoding, turn) for turn, request in enumerate(requests)]
            failures: dict[int, NoAnswerError] = {}  # by the request's turn
            in_a_row = 0
            for future in as_completed(waiting):
                try:
                    answers = future.result()
                except NoAnswerError as error:
                    failures[waiting.index(future)] = error
                    in_a_row += 1
                    if in_a_row == _FAILURES_IN_A_ROW:
                        break
                    continue
                in_a_row = 0
                yield from answers
            if failures:
                raise failures[min(failures)]
        finally:
            pool.shutdown(cancel_futures=True)

    def answer(self, request: Request, decoding: Decoding, turn: int = 0) -> list[Completion]:
        """The samples of one request, from the server whose turn it is, or the next one that answers.

        Raises:
            NoAnswerError: no server does.
            UserError: a server refuses the request, or gives too few samples.
        """
        failure = NoAnswerError("no server", "connection")
        first = turn % len(self.clients)
        for client in self.clients[first:] + self.clients[:first]:
            try:
                reply = client.chat.completions.create(**self._payload(request, decoding))
                if _is_chat(reply):
                    return _completions(request, reply, decoding)
                failure = NoAnswerError(f"{client.base_url}: its answer to {request.key} is no chat", "no_chat")
            except openai.BadRequestError as error:
                if "context length" in str(error) or "too long" in str(error):
                    return [Completion(request.key, i, "", "prompt_too_long", 0, 0) for i in range(decoding.n)]
                raise UserError(f"{client.base_url}: refused {request.key}: {_line(error)}") from error
            except (openai.OpenAIError, ValueError) as error:  # ValueError: the answer is not JSON
                said = f"no server answered {request.key}; the last said: {_line(error)}"
                failure = NoAnswerError(said, _reason(error))
            logger.warning("%s: %s", client.base_url, failure)
        raise failure

    def stream(self, request: Request, decoding: Decoding) -> Generator[str, None, Completion]:
        """As :meth:`Engine.stream`, from the first server that answers."""
        failure = NoAnswerError("no server", "connection")
        for client in self.clients:
            try:
                with client.chat.completions.create(**self._payload(request, decoding), stream=True) as chunks:
                    return (yield from _pieces(request, chunks))
            except openai.BadRequestError as error:
                if "context length" in str(error) or "too long" in str(error):
                    return Completion(request.key, 0, "", "prompt_too_long", 0, 0)
                raise UserError(f"{client.base_url}: refused {request.key}: {_line(error)}") from error
            except (openai.OpenAIError, ValueError) as error:
                said = f"no server answered {request.key}; the last said: {_line(error)}"
                failure = NoAnswerError(said, _reason(error))
        raise failure

    def alive(self) -> bool:
        """Whether every server answers within two seconds."""
        try:
            return all(client.with_options(timeout=2.0, max_retries=0).models.list() for client in self.clients)
        except (openai.OpenAIError, ValueError):
            return False

    def _payload(self, request: Request, decoding: Decoding) -> dict[str, Any]:
        payload: dict[str, Any] = {key: getattr(decoding, key) for key in ("temperature", "top_p", "n", "seed")}
        payload |= {"model": self.model, "messages": request.messages, "max_tokens": decoding.max_new_tokens}
        if decoding.stop:
            payload["stop"] = list(decoding.stop)
        if self.extras:
            extra: dict[str, Any] = {"top_k": decoding.top_k or -1, "repetition_penalty": 1.0}
            if self.settings.enable_thinking is not None:
                extra["chat_template_kwargs"] = {"enable_thinking": self.settings.enable_thinking}
            payload["extra_body"] = extra
        return payload

    def close(self) -> None:
        """Close the connections."""
        for client in self.clients:
            client.close()


def _pieces(request: Request, chunks: Any) -> Generator[str, None, Completion]:
    """The text of a streamed chat, with thinking from a field of its own in ``<think>`` tags."""
    said, thinking, count = "", False, 0
    reason: FinishReason = "stop"
    for chunk in chunks:
        for choice in chunk.choices:
            delta = choice.delta
            thought = getattr(delta, "reasoning_content", None) or getattr(delta, "reasoning", None) or ""
            piece = ("<think>\n" if thought and not thinking else "") + thought
            if delta.content:
                piece += ("\n</think>\n\n" if thinking or thought else "") + delta.content
            thinking = (thinking or bool(thought)) and not delta.content
            reason = "length" if choice.finish_reason == "length" else reason
            if piece:
                said, count = said + piece, count + 1
                yield piece
    return Completion(request.key, 0, said, reason, 0, count)


def _reason(error: Exception) -> str:
    if isinstance(error, openai.APIStatusError):
        return f"status_{error.status_code}"
    if isinstance(error, openai.APIConnectionError):
        return "timeout" if isinstance(error, openai.APITimeoutError) else "connection"
    return "no_chat"


def _is_chat(reply: Any) -> bool:
    """Whether a reply has the parts of a chat completion; proxies send pages of their own."""
    choices = getattr(reply, "choices", None)
    return isinstance(choices, list) and bool(choices) and all(getattr(c, "message", None) for c in choices)


def _served_models(client: openai.OpenAI, wanted: str) -> dict[str, str]:
    """Names of a server's models with their owner; a server that does not list them is assumed to have ``wanted``."""
    try:
        return {model.id: model.owned_by for model in client.models.list()}
    except openai.NotFoundError as error:
        if not wanted:
            raise UserError(f"{client.base_url}: does not list its models; name one") from error
        return {wanted: ""}
    except openai.APIConnectionError as error:
        raise UserError(
            f"{client.base_url}: no server answers; start one (vllm serve MODEL) or correct base_urls"
        ) from error
    except openai.APIStatusError as error:
        raise UserError(f"{client.base_url}: {_line(error)}") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(f"{client.base_url}: gives no list of models; base_urls usually end in /v1") from error


def _completions(request: Request, reply: Any, decoding: Decoding) -> list[Completion]:
    used, count = reply.usage, len(reply.choices)
    if count != decoding.n:
        raise UserError(f"the server gave {count} of {decoding.n} samples; it does not support n")
    read, new = (used.prompt_tokens, used.completion_tokens // count) if used else (0, 0)
    completions = []
    for sample, choice in enumerate(reply.choices):
        reason: FinishReason = "length" if choice.finish_reason == "length" else "stop"
        completions.append(Completion(request.key, sample, _with_reasoning(choice.message), reason, read, new))
    return completions


def _with_reasoning(message: Any) -> str:
    """The answer, with the thinking in front that some servers return in a field of its own."""
    thought = getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None)
    answer = message.content or ""
    return f"<think>\n{thought}\n</think>\n\n{answer}" if thought else answer


def _line(error: object) -> str:
    return " ".join(str(error).split())[:300]
