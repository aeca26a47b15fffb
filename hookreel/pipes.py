"""What happens when nobody reads the output any more: ``hookreel cat big.reel | head``."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import click

EXIT_NOBODY_READS = 141
"""What a shell says of a command that SIGPIPE ended: 128 + 13. SIGPIPE itself would end recordings too."""


@contextmanager
def until_nobody_reads() -> Iterator[None]:
    """
    Flush what was printed; when the reader of standard output or error went away, end without a word.

    Raises:
        click.exceptions.Exit: the reader went away.
        BrokenPipeError: something else broke, such as a connection.

    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        unread = [number for number in (1, 2) if _is_unread(number)]
        if not unread:
            raise
        nothing = os.open(os.devnull, os.O_WRONLY)
        for number in unread:  # the interpreter flushes once more at its end
            os.dup2(nothing, number)
        os.close(nothing)
        raise click.exceptions.Exit(EXIT_NOBODY_READS) from None


def _is_unread(number: int) -> bool:
    """Whether that descriptor is a pipe or socket whose other end was closed."""
    poll = select.poll()
    poll.register(number, 0)
    with suppress(OSError):
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    return False
