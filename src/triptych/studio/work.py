"""Requests at work: a bounded queue before few threads, a time limit, and an end to work that nobody waits for."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from triptych.errors import UserError

CONCURRENT, WAITING = 2, 32  # requests at work, and before them
SECONDS = 120.0  # that a request may work
EVERY = 0.03  # seconds between two events that show progress


class RefusedError(UserError):
    """A request that is refused, with its HTTP status."""

    def __init__(self, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.status = status


class Stopped(Exception):  # noqa: N818
    """The client has gone, and so does its work."""


class Job:
    """One request: what it shows its client in between, if that listens, and whether it is to stop."""

    def __init__(self, send: Callable[[str, dict[str, Any]], object] | None = None) -> None:
        self._send, self._until, self._next = send, time.monotonic() + SECONDS, 0.0
        self._progress: Callable[[Any], None] | None = None
        self._every = EVERY
        self.stop = threading.Event()

    def send(self, event: str, data: dict[str, Any]) -> None:
        """Send an event, where the request is for a stream."""
        if self._send is not None:
            self._send(event, data)

    @contextmanager
    def watched(self, progress: Callable[[Any], None], every: float = EVERY) -> Iterator[None]:
        """Call `progress` with the cache of a generation every so many seconds, where the request is for a stream."""
        self._progress, self._every = None if self._send is None else progress, every
        yield
        self._progress = None

    def check(self) -> None:
        """Raise where nobody waits any more, or the time is over."""
        if self.stop.is_set():
            raise Stopped
        if time.monotonic() > self._until:
            raise RefusedError(f"expected work of at most {SECONDS:.0f} seconds, got more; ask for less", 504)

    def step(self, cache: Any) -> None:
        """Take a step of generation into account."""
        self.check()
        if self._progress is not None and time.monotonic() >= self._next:
            self._progress(cache)
            self._next = time.monotonic() + self._every


JOB: ContextVar[Job | None] = ContextVar("job", default=None)  # that this thread works for
Work = Callable[[Job], Any]
Gone = Callable[[], Awaitable[None]]  # ends when the client has gone


def watch(cache: Any) -> None:
    """Let a step of generation count for the job of the thread."""
    if (job := JOB.get()) is not None:
        job.step(cache)


class Workshop:
    """The threads that work, and the queue before them. Refused where too many wait; Stopped for clients that left."""

    def __init__(self) -> None:
        self._threads, self.jobs = ThreadPoolExecutor(CONCURRENT, "studio"), 0  # jobs: how many work or wait

    async def answer(self, work: Work, gone: Gone, job: Job | None = None) -> Any:
        """The result of a request's work, in a thread that it keeps until it ends. A client that leaves gives up its
        place in the queue, or stops the work.
        """
        if max(0, self.jobs - CONCURRENT) >= WAITING:
            raise RefusedError("expected a free place in the queue, got none; try again in a second", 503)
        job = job or Job()
        running, leaving = self._threads.submit(_run, work, job), asyncio.ensure_future(gone())

        def left(_: object) -> None:
            job.stop.set()
            running.cancel()  # which only work that still waits can be

        leaving.add_done_callback(left)
        self.jobs += 1
        try:
            return await asyncio.wrap_future(running)
        except asyncio.CancelledError:
            raise Stopped from None
        finally:
            self.jobs -= 1
            leaving.cancel()

    async def stream(self, work: Work, gone: Gone) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """The events of a request's work, the last one `done`. Closing the iterator stops the work too, which has its
        thread until it ends, however long its client takes to read.
        """
        loop, events = asyncio.get_running_loop(), asyncio.Queue[Any]()
        job = Job(lambda *event: loop.call_soon_threadsafe(events.put_nowait, event))
        running = asyncio.ensure_future(self.answer(lambda job: job.send("done", work(job)), gone, job))
        running.add_done_callback(lambda done: events.put_nowait(done.exception()))
        try:
            while isinstance(event := await events.get(), tuple):
                yield event
            if event is not None:
                raise event
        finally:
            job.stop.set()


def _run(work: Work, job: Job) -> Any:
    JOB.set(job)
    job.check()
    return work(job)
