"""Threads for work that cannot wait on the event loop, with a bound on how much may be waiting.

Engines and the sandbox are ordinary blocking code. A request gets a thread or waits for one; when too many wait, the next is
told to come again. A request that takes too long is answered at once, and its thread is told to stop at its next step.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from text2sql.serve.error import ServeError

Value = TypeVar("Value")
_RETRY_SECONDS = 2


@dataclass(frozen=True)
class Done(Generic[Value]):
    """The last item of a work's events: what it returned."""

    value: Value


class Workers:
    """``threads`` work at once, ``queue`` requests wait for them; each may take ``timeout`` seconds in all."""

    def __init__(self, threads: int, queue: int, timeout: float) -> None:
        self.threads, self.queue, self.timeout = threads, queue, timeout
        self.inside = 0
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="text2sql-serve")

    async def events(self, work: Callable[[], Generator[str, None, Value]]) -> AsyncGenerator[str | Done[Value], None]:
        """What a generator yields in a thread, and at the end what it returns.

        Raises:
            ServeError: too many are waiting (429), it took too long (504), or whatever the work raises.
        """
        if self.inside >= self.threads + self.queue:
            raise ServeError(429, "too_many_requests", "too many questions at once; ask again", _RETRY_SECONDS)
        self.inside += 1
        loop, arrived = asyncio.get_running_loop(), asyncio.Queue[Any]()
        stopped = threading.Event()

        def tell(item: object) -> None:
            with suppress(RuntimeError):  # the server has ended meanwhile
                loop.call_soon_threadsafe(arrived.put_nowait, item)

        def drive() -> Value | None:
            steps = work()
            try:
                while not stopped.is_set():
                    tell(next(steps))
            except StopIteration as end:
                found: Value = end.value
                return found
            finally:
                steps.close()
            return None

        def ended(future: Future[Value | None]) -> None:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._leave)
            tell(future)

        future = self._pool.submit(drive)
        future.add_done_callback(ended)
        deadline = loop.time() + self.timeout
        try:
            while True:
                item = await asyncio.wait_for(arrived.get(), deadline - loop.time())
                if isinstance(item, Future):
                    yield Done(item.result())
                    return
                yield item
        except TimeoutError as error:
            raise ServeError(504, "timeout", f"no answer within {self.timeout:g} seconds") from error
        finally:
            stopped.set()
            future.cancel()

    async def run(self, work: Callable[[], Generator[str, None, Value]]) -> Value:
        """What a generator returns; what it yields is dropped. Raises as :meth:`events`."""
        async for event in self.events(work):
            if isinstance(event, Done):
                return event.value
        raise ServeError(500, "internal", "the work ended without a result")

    async def call(self, function: Callable[[], Value]) -> Value:
        """What a function returns, run in a thread. Raises as :meth:`events`."""

        def work() -> Generator[str, None, Value]:
            return function()
            yield

        return await self.run(work)

    def _leave(self) -> None:
        self.inside -= 1

    def close(self) -> None:
        """Wait for the work at hand; what waits is dropped."""
        self._pool.shutdown(cancel_futures=True)
