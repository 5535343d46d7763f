"""``/v1/chat/completions`` as OpenAI's clients know it; each registered database is a "model".

The last message is the question, and earlier ones are the conversation. System messages are not read: the prompt is that of the
model's training.
"""

import json
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import Body, FastAPI, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from text2sql.prompts import parse_completion
from text2sql.serve.error import ServeError
from text2sql.serve.question import Answer, Question, Turn
from text2sql.serve.server import Server
from text2sql.serve.wire import MOST_TURNS
from text2sql.serve.work import Done

_EXAMPLE: dict[str, Any] = {
    "model": "zoo_animals",
    "messages": [{"role": "user", "content": "how many keepers are there"}],
}


class Part(BaseModel):
    """A part of a message's content; only text is read."""

    type: str
    text: str = ""


class ChatMessage(BaseModel):
    """One message."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None

    @property
    def text(self) -> str:
        """The text of the content."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content if part.type == "text")
        return self.content or ""


class ChatIn(BaseModel):
    """A chat about a database. Settings of other servers (temperature and the like) are taken and have no effect."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [_EXAMPLE]})

    model: str = Field(description="A name of /v1/databases.")
    messages: list[ChatMessage] = Field(min_length=1, max_length=4 * MOST_TURNS)
    n: Literal[1, None] = 1
    stream: bool | None = False

    def asked(self) -> Question:
        """The question.

        Raises:
            ServeError: the last message is not the user's.
        """
        if self.messages[-1].role != "user":
            raise ServeError(422, "bad_request", "the last message is the question: its role is user")
        history: list[Turn] = []
        said = ""
        for message in self.messages[:-1]:
            if message.role == "user":
                said = message.text
            elif message.role == "assistant" and said.strip():
                history.append(Turn(said, parse_completion(message.text)))
                said = ""
        return Question(self.messages[-1].text, database=self.model, history=tuple(history[-MOST_TURNS:]))


def add_routes(app: FastAPI, server: Server) -> None:
    """Add OpenAI's two routes."""

    @app.get("/v1/models", tags=["openai"])
    async def models() -> dict[str, Any]:
        """The registered databases, as models."""
        rows = [
            {"id": name, "object": "model", "created": 0, "owned_by": "text2sql"} for name in server.databases.files
        ]
        return {"object": "list", "data": rows}

    @app.post("/v1/chat/completions", tags=["openai"])
    async def completions(request: Request, chat: Annotated[ChatIn, Body()]) -> Any:
        """SQL for the last message, as the answer of a chat."""
        question = chat.asked()
        known = chat.model if chat.model in server.databases.files else None
        server.note(request, database=known, question=question.text)
        events, event = await server.first(question)
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": chat.model}
        while not isinstance(event, Done) and not chat.stream:
            event = await anext(events)
        if chat.stream:
            return StreamingResponse(_chunks(server, head, events, event), media_type="text/event-stream")
        assert isinstance(event, Done)
        answer = server.count(event.value)
        message = {"role": "assistant", "content": answer.sql}
        if answer.reasoning:
            message["reasoning_content"] = answer.reasoning
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(answer)}
        return {**head, "object": "chat.completion", "choices": [choice], "usage": _usage(answer)}


async def _chunks(
    server: Server, head: dict[str, Any], events: AsyncGenerator[str | Done[Answer], None], event: str | Done[Answer]
) -> AsyncIterator[str]:
    """The SQL in one piece at the end: it is repaired, and reasoning left out, when it is whole."""

    def chunk(delta: dict[str, str], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return f"data: {json.dumps({**head, 'object': 'chat.completion.chunk', 'choices': [choice]})}\n\n"

    try:
        yield chunk({"role": "assistant", "content": ""})
        while not isinstance(event, Done):
            event = await anext(events)
        answer = server.count(event.value)
        yield chunk({"content": answer.sql})
        yield chunk({}, _finish(answer))
    except ServeError as problem:
        yield f"data: {json.dumps(problem.body)}\n\n"
    finally:
        await events.aclose()
    yield "data: [DONE]\n\n"


def _finish(answer: Answer) -> str:
    return "length" if answer.cut else "stop"


def _usage(answer: Answer) -> dict[str, int]:
    prompt, new = answer.prompt_tokens, answer.completion_tokens
    return {"prompt_tokens": prompt, "completion_tokens": new, "total_tokens": prompt + new}
