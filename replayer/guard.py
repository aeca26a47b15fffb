"""What the process does differently while it sends: signals end the run, and nothing is collected."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def ended_by_signals(loop: asyncio.AbstractEventLoop, stop: Callable[[str], None]) -> Iterator[None]:
    """SIGINT and SIGTERM end the run in good order while this is open."""
    before: dict[signal.Signals, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        handler = signal.getsignal(number)
        try:
            loop.add_signal_handler(number, stop, "interrupted")
            before[number] = handler
        except (ValueError, RuntimeError, NotImplementedError):
            continue  # not in the main thread: whoever runs us there handles signals
    try:
        yield
    finally:
        # The loop puts the default back, which would end a process that has yet to tell its results.
        signal.pthread_sigmask(signal.SIG_BLOCK, before)
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, before)


@contextmanager
def no_collector() -> Iterator[None]:
    """No garbage collection while sending: a pass over the heap would stall sends by milliseconds."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()


def fatal_error(context: dict[str, Any]) -> Exception | None:
    """What an event loop tells in ``context``; None for a cancellation and a transport's own errors."""
    error = context.get("exception")
    if error is None or isinstance(error, asyncio.CancelledError):
        return None
    of_transport = bool(context.get("transport") or context.get("protocol"))
    return None if isinstance(error, OSError) and of_transport else error
