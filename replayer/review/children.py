"""Commands that a review runs: one at a time, ended together with it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile

from captures.errors import HookreelError, UsageError
from replayer.targets import Target

_STOP_S = 15.0  # a replay that is interrupted waits for what is in flight
_READY_S = 60.0
_PROBE_S = 0.2


def run_command(
    words: Sequence[str], log: Path | None = None, environment: Mapping[str, str] | None = None
) -> tuple[int, str, str]:
    """
    Run ``words`` without a shell to its end: exit code, standard output, last line of standard error.

    With a ``log`` both outputs are appended to that file, and the texts are empty. When this process
    is interrupted, the command and all it started are interrupted, then killed. ``environment``
    replaces this process's own.

    Raises:
        UsageError: there is no such command.

    """
    with TemporaryFile() as out, TemporaryFile() as err, _appended(log) as kept:
        try:
            process = subprocess.Popen(  # noqa: S603  a list of words; no shell reads them
                list(words),
                stdin=subprocess.DEVNULL,
                stdout=out if kept is None else kept,
                stderr=err if kept is None else kept,
                start_new_session=True,
                env=environment,
            )
        except OSError as error:
            raise UsageError(
                f"{words[0]} cannot be run ({error.strerror}); name a command that exists."
            ) from None
        try:
            code = process.wait()
        except BaseException:
            _end(process)
            raise
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    said = texts[1].strip().splitlines()
    return code, texts[0], said[-1] if said else "it said nothing"


@contextmanager
def _appended(log: Path | None) -> Iterator[int | None]:
    if log is None:
        yield None
        return
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Interrupt a command as Ctrl-C would; what does not end then is killed, with all it started."""
    try:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_S)
    finally:  # also when Ctrl-C comes again meanwhile
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def await_connections(
    target: Target,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock_s: Callable[[], float] = time.monotonic,
) -> None:
    """
    Return once one of the target's addresses accepts a connection.

    Raises:
        HookreelError: none does within a minute.

    """
    deadline_s = clock_s() + _READY_S
    while True:
        for address in target.addresses:
            try:
                socket.create_connection((address, target.port), timeout=_READY_S).close()
            except OSError:
                continue
            return
        if clock_s() > deadline_s:
            raise HookreelError(
                f"{target.url} accepted no connection for {_READY_S:.0f} s; start it, or have it started by"
                " --before."
            )
        sleep(_PROBE_S)


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Within it SIGTERM ends things in as good an order as Ctrl-C does."""
    usual = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, usual)
