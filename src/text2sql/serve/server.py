"""What the routes of the HTTP API share."""

import time
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import Request

from text2sql.serve.answer import Answerer
from text2sql.serve.metrics import Metrics
from text2sql.serve.options import ServeOptions
from text2sql.serve.question import Answer, Question
from text2sql.serve.work import Done, Workers

_ALIVE_SECONDS = 2.0


class Server:
    """What the routes share: the answerer, threads for the model and for SQL, and the counters."""

    def __init__(self, options: ServeOptions, answerer: Answerer) -> None:
        self.options, self.answerer, self.databases = options, answerer, answerer.databases
        limits = options.limits
        self.asking = Workers(limits.concurrency, limits.queue, limits.timeout)
        self.running = Workers(min(4, limits.concurrency), limits.queue, limits.timeout)
        self.metrics = Metrics(lambda: self.asking.inside)
        self._alive = (0.0, True)

    async def alive(self) -> bool:
        """Whether the model answers; asked at most every two seconds."""
        if time.monotonic() - self._alive[0] > _ALIVE_SECONDS:
            alive = await self.running.call(self.answerer.engine.alive)
            self._alive = (time.monotonic(), alive)
        return self._alive[1]

    async def first(self, question: Question) -> tuple[AsyncGenerator[str | Done[Answer], None], str | Done[Answer]]:
        """The events of an answer and the first of them, so that what is wrong at once can still be a status."""
        events = self.asking.events(lambda: self.answerer.ask(question))
        return events, await anext(events)

    def count(self, answer: Answer) -> Answer:
        """Count an answer."""
        self.metrics.tokens(answer.prompt_tokens, answer.completion_tokens)
        if answer.result or answer.failure:
            self.metrics.statement("rows" if answer.result else answer.failure.kind if answer.failure else "")
        return answer

    def note(self, request: Request, **notes: Any) -> None:
        """What the log tells of a request; texts only where the operator wants them."""
        texts = ("question", "sql")
        told = {k: v for k, v in notes.items() if v is not None and (self.options.log_text or k not in texts)}
        request.state.notes.update(told)
