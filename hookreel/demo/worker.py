"""Executes the demo target's workflow runs: a queue, some workers, a log line a step."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from hookreel.demo.store import Store

WORKERS = 64
_STEPS = ("load workflow definition", "evaluate conditions", "call connector", "store result")
_ROLLOUT_STEPS = (*_STEPS, "wait for the canary", "check the canary", "switch traffic", "clean up")

Sleep = Callable[[float], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a run and how long it takes."""

    text: str
    duration_s: float


def steps_of(run_id: str, workflow: str) -> tuple[Step, ...]:
    """
    The steps of a run; the same run always has the same.

    An ordinary run takes 12 to 36 ms in all. A rollout (``deployment``) takes about 1.6 s, so
    that its live log still grows while somebody watches it.
    """
    digest = hashlib.blake2b(run_id.encode(), digest_size=8).digest()
    if workflow.endswith("deployment"):
        return tuple(
            Step(text=text, duration_s=0.2 + byte / 25_500)
            for text, byte in zip(_ROLLOUT_STEPS, digest, strict=False)
        )
    return tuple(
        Step(text=text, duration_s=0.003 + byte * 0.006 / 255)
        for text, byte in zip(_STEPS, digest, strict=False)
    )


class Engine:
    """
    Runs workflows one after another in each of ``WORKERS`` workers.

    ``sleep`` and ``clock_ms`` (Unix time) come in as arguments. ``changed`` lets a reader wait
    for the next log line of a run.
    """

    def __init__(self, store: Store, *, sleep: Sleep, clock_ms: Callable[[], int]) -> None:
        self._store = store
        self._sleep = sleep
        self._clock_ms = clock_ms
        self._queue: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self._changed: dict[str, asyncio.Event] = {}
        self._workers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the workers in the running event loop."""
        self._workers = [asyncio.create_task(self._work()) for _ in range(WORKERS)]

    async def stop(self) -> None:
        """Cancel the workers; what is queued stays queued in the store."""
        for task in self._workers:
            task.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    def submit(self, run_id: str, workflow: str) -> None:
        """Queue a run that the store holds."""
        self._changed[run_id] = asyncio.Event()
        self._queue.put_nowait((run_id, workflow))

    def changed(self, run_id: str) -> asyncio.Event | None:
        """An event that is set at the run's next change, or None when it will not change again."""
        return self._changed.get(run_id)

    async def _work(self) -> None:
        while True:
            run_id, workflow = await self._queue.get()
            await self._execute(run_id, workflow)

    async def _execute(self, run_id: str, workflow: str) -> None:
        self._store.set_running(run_id)
        for number, step in enumerate(steps_of(run_id, workflow)):
            await self._sleep(step.duration_s)
            self._store.add_log(run_id, number, f"{step.text}: ok")
            before = self._changed[run_id]
            self._changed[run_id] = asyncio.Event()
            before.set()
        self._store.set_done(run_id, self._clock_ms())
        self._changed.pop(run_id).set()
