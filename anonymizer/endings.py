"""End a command from outside as if it were interrupted, so that it takes its unfinished files with it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

import click

_ENDINGS = (signal.SIGTERM, signal.SIGHUP)


class _Ended(SystemExit):
    """A signal came; the exit code is what a shell gives to a process that it ended."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.name = signal.Signals(number).name


@contextlib.contextmanager
def tidied_when_ended() -> Iterator[None]:
    """
    Let SIGTERM and SIGHUP (unless it is ignored) raise SystemExit with 128 and their number.

    One sentence goes to stderr. A second signal does not disturb what the first one started. For
    the main thread alone, as only there signals arrive.
    """
    before = {number: signal.getsignal(number) for number in _ENDINGS}

    def end(number: int, _frame: FrameType | None) -> None:
        for other in before:
            signal.signal(other, signal.SIG_IGN)
        raise _Ended(number)

    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, end)
    try:
        yield
    except _Ended as ended:
        with contextlib.suppress(OSError):  # the terminal may be gone
            click.echo(f"Error: Ended by {ended.name}; nothing was written.", err=True)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
