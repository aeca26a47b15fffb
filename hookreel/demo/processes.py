"""Child processes of the demo: each in a group of its own, none left behind."""

from __future__ import annotations

import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import hookreel
from captures.errors import HookreelError

STOP_S = 10.0  # a recorder drains what is in flight for a few seconds
_PACKAGE_ROOT = Path(hookreel.__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What a command that ran to its end left."""

    exit_code: int
    stdout: str
    stderr: str


def hookreel_command(*arguments: str) -> tuple[str, ...]:
    """The argument list that runs ``hookreel`` with this Python, whatever is on PATH."""
    return (sys.executable, "-P", "-m", "hookreel", *arguments)


def module_command(module: str, *arguments: str) -> tuple[str, ...]:
    """The argument list that runs ``python -m module`` with this Python."""
    return (sys.executable, "-P", "-m", module, *arguments)


def shown_command(command: Sequence[str]) -> str:
    """``command`` as a user would type it in the folder where the demo was started."""
    arguments = list(command)
    if arguments[:4] == list(hookreel_command()) and shutil.which("hookreel"):
        return shlex.join(["hookreel", *arguments[4:]])
    python = arguments[0]
    nearer = os.path.relpath(python)
    arguments[0] = python if nearer.startswith("..") else nearer
    arguments.remove("-P")
    return shlex.join(arguments)


class Children:
    """
    Starts processes and, as a context manager, ends every one of them with its whole group.

    What a child prints as errors goes to a file in ``scratch``, so no pipe can fill up; its own
    temporary files go there too, so that they are gone even when it had to be killed.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._started: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in reversed(self._started):
            child.kill()

    def start(self, command: Sequence[str]) -> Child:
        """Start ``command`` in a session of its own, so that Ctrl-C reaches only the demo itself."""
        errors = self._scratch / f"stderr-{len(self._started)}.txt"
        with errors.open("wb") as sink:
            process = subprocess.Popen(  # noqa: S603  our own commands
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=sink,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": _python_path(), "TMPDIR": str(self._scratch)},
            )
        child = Child(command, process, errors)
        self._started.append(child)
        return child

    def run(self, command: Sequence[str], *, timeout_s: float = 120.0) -> Finished:
        """
        Run ``command`` to its end.

        Raises:
            HookreelError: it took longer than ``timeout_s``.

        """
        return self.start(command).finish(timeout_s)


class Child:
    """One started process."""

    def __init__(self, command: Sequence[str], process: subprocess.Popen[bytes], errors: Path) -> None:
        self._name = " ".join(command[3:5]) if command[3] == "hookreel" else command[3]
        self._process = process
        self._errors = errors

    def wait_for(self, pattern: str, timeout_s: float = 30.0) -> str:
        """
        The first group of ``pattern`` in the child's first line.

        Raises:
            HookreelError: it ended or said nothing in time.

        """
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        deadline_s = time.monotonic() + timeout_s
        line = b""
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([descriptor], [], [], max(0.0, deadline_s - time.monotonic()))
            piece = os.read(descriptor, 1) if readable else b""
            if not piece:
                break
            line += piece
        match = re.search(pattern, line.decode(errors="replace"))
        if match is None:
            raise HookreelError(f"{self._name} did not start: {self.last_error()}")
        return match[1]

    def interrupt(self, timeout_s: float = STOP_S) -> Finished:
        """End the child as Ctrl-C would and return what it said."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)
        return self.finish(timeout_s)

    def finish(self, timeout_s: float) -> Finished:
        """Wait for the child's end."""
        try:
            stdout, _ = self._process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise HookreelError(
                f"{self._name} did not end within {timeout_s:.0f} s; try again on a quieter machine."
            ) from None
        return Finished(
            exit_code=self._process.returncode,
            stdout=stdout.decode(errors="replace"),
            stderr=self._errors.read_text("utf-8", errors="replace"),
        )

    def kill(self) -> None:
        """End the child and whatever it started: asked first, forced two seconds later."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(2.0)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # the group may outlive its leader
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def last_error(self) -> str:
        """The last line the child wrote to stderr."""
        lines = self._errors.read_text("utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def _python_path() -> str:
    """Children import the same hookreel as this process, installed or not."""
    given = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(_PACKAGE_ROOT), given] if given else [str(_PACKAGE_ROOT)])
