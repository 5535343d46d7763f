"""The HTTP API: routes of text2sql's own, OpenAI's chat form, and the page."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as RoutingError

from text2sql.serve import chat, wire
from text2sql.serve.answer import Answerer
from text2sql.serve.databases import Result
from text2sql.serve.error import ServeError
from text2sql.serve.guard import Guard
from text2sql.serve.metrics import CONTENT_TYPE
from text2sql.serve.options import ServeOptions
from text2sql.serve.question import Answer
from text2sql.serve.server import Server
from text2sql.serve.work import Done

PAGE = Path(__file__).with_name("page")
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": wire.ErrorOut, "description": words}
    for status, words in {
        400: "The body is not JSON",
        401: "No key, or a wrong one",
        404: "No such database",
        408: "The body came too slowly",
        413: "The body is too large",
        415: "The body is not declared as JSON",
        422: "The request cannot be answered",
        429: "Too many at once; Retry-After says when to come again",
        503: "The model or the database does not answer",
        504: "It took too long",
    }.items()
}


def create_app(options: ServeOptions, answerer: Answerer) -> FastAPI:
    """The application; it closes its threads when it is shut down, and nothing that it was given."""
    server = Server(options, answerer)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        server.asking.close()
        server.running.close()

    app = FastAPI(
        title="text2sql",
        version="1",
        summary="Questions about databases, answered with SQL.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        responses=_ERRORS,
    )
    _add_state_routes(app, server)
    _add_question_routes(app, server)
    chat.add_routes(app, server)
    _add_errors(app)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    app.mount("/static", StaticFiles(directory=PAGE), name="static")
    app.add_middleware(Guard, options=options, metrics=server.metrics)
    return app


def _add_state_routes(app: FastAPI, server: Server) -> None:
    @app.get("/healthz", tags=["state"])
    async def healthz() -> dict[str, str]:
        """The server is up."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["state"])
    async def readyz() -> dict[str, str]:
        """The model answers; 503 while it does not."""
        if not await server.alive():
            raise ServeError(503, "model_unavailable", "the model's server does not answer", retry_after=5)
        return {"status": "ready", "engine": server.answerer.engine.name}

    @app.get("/metrics", tags=["state"], response_class=Response)
    async def metrics() -> Response:
        """Counters in Prometheus' text format."""
        return Response(server.metrics.text(), media_type=CONTENT_TYPE)


def _add_question_routes(app: FastAPI, server: Server) -> None:
    def described(name: str) -> wire.DatabaseOut:
        tables, questions = wire.tables(server.databases.schema(name)), server.options.questions.get(name, [])
        return wire.DatabaseOut(name=name, tables=tables, questions=questions)

    @app.get("/v1/databases", tags=["questions"])
    async def databases() -> wire.DatabasesOut:
        """The databases that may be asked, with their schemas."""
        every = await server.running.call(lambda: [described(name) for name in server.databases.files])
        return wire.DatabasesOut(databases=every)

    @app.get("/v1/databases/{name}", tags=["questions"])
    async def database(name: str) -> wire.DatabaseOut:
        """One database with its schema."""
        return await server.running.call(lambda: described(name))

    @app.post("/v1/text2sql", tags=["questions"], response_model=wire.AskOut)
    async def text2sql(request: Request, asked: Annotated[wire.AskIn, Body()]) -> Any:
        """SQL that answers a question; with `execute`, its rows as well; with `stream`, as server-sent events."""
        known = asked.database if asked.database in server.databases.files else None
        server.note(request, database=known, n=asked.n, question=asked.question)
        events, event = await server.first(asked.asked())
        if asked.stream:
            return StreamingResponse(_sent(server, asked, events, event), media_type="text/event-stream")
        while not isinstance(event, Done):
            event = await anext(events)
        answer = server.count(event.value)
        server.note(request, sql=answer.sql)
        return wire.answer_out(answer, asked.format)

    @app.post("/v1/sql", tags=["questions"], response_model=wire.ResultOut)
    async def sql(request: Request, asked: Annotated[wire.RunIn, Body()]) -> Any:
        """Run a SELECT, read-only; in CSV form the answer is a file."""
        known = asked.database if asked.database in server.databases.files else None
        server.note(request, database=known, sql=asked.sql)
        result: Result | ServeError
        try:
            result = await server.running.call(lambda: server.databases.run(asked.database, asked.sql))
        except ServeError as problem:
            result = problem
        server.metrics.statement(result.kind if isinstance(result, ServeError) else "rows")
        if isinstance(result, ServeError):
            raise result
        if asked.format == "csv":
            return Response(wire.csv_text(result), media_type="text/csv; charset=utf-8")
        return wire.result_out(result, "json")


async def _sent(
    server: Server, asked: wire.AskIn, events: AsyncGenerator[str | Done[Answer], None], event: str | Done[Answer]
) -> AsyncIterator[str]:
    try:
        while not isinstance(event, Done):
            yield sse("delta", {"text": event})
            event = await anext(events)
        yield sse("result", wire.answer_out(server.count(event.value), asked.format).model_dump())
    except ServeError as problem:
        yield sse("error", problem.body["error"])
    finally:
        await events.aclose()


def sse(event: str, data: Any) -> str:
    """A server-sent event."""
    return f"event: {event}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


def _add_errors(app: FastAPI) -> None:
    def told(problem: ServeError) -> JSONResponse:
        headers = {"retry-after": str(problem.retry_after)} if problem.retry_after else {}
        return JSONResponse(problem.body, problem.status, headers)

    @app.exception_handler(ServeError)
    async def on_problem(_request: Request, problem: ServeError) -> JSONResponse:
        return told(problem)

    @app.exception_handler(Exception)
    async def on_failure(_request: Request, _error: Exception) -> JSONResponse:
        return told(ServeError(500, "internal", "something failed in the server; its log says what"))

    @app.exception_handler(RequestValidationError)
    async def on_invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part != "body")
        text = f"{place}: {first['msg']}" if place else str(first["msg"])
        return told(ServeError(422, "bad_request", text.encode("utf-8", "replace").decode()[:300]))

    @app.exception_handler(RoutingError)
    async def on_routing(_request: Request, error: HTTPException) -> JSONResponse:
        answer = told(ServeError(error.status_code, "bad_request", str(error.detail)))
        answer.headers.update(error.headers or {})
        return answer
