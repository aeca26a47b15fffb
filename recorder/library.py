"""The recorder as one more addon of somebody's own mitmproxy."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from os import PathLike
from pathlib import Path

from captures.writer import CaptureWriter, new_header
from recorder.account import Account
from recorder.addon import RecorderAddon
from recorder.settings import MAX_BODY_BYTES
from recorder.sink import Sink


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr)


class FileRecorder(RecorderAddon):
    """
    Records what passes a mitmproxy instance to a new capture, until that instance shuts down.

    It changes no message; bodies above 256 KiB and those of unknown length are streamed, so
    addons that want to read or change them must come with a mitmproxy of their own. ``source``
    goes into the capture's header. ``account`` is there after the end.

    Raises:
        UsageError: the file exists.
        WriteError: it cannot be created.

    """

    name = "hookreel-file-recorder"

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        source: str = "mitmproxy",
        max_body_bytes: int = MAX_BODY_BYTES,
        note: Callable[[str], None] = _to_stderr,
    ) -> None:
        header = new_header(source=source, started_wall_ns=time.time_ns())
        self.account: Account | None = None
        self._own_sink = Sink(lambda: CaptureWriter.create(Path(path), header), note=note)
        self._own_sink.start()
        super().__init__(
            self._own_sink,
            clock_ns=time.monotonic_ns,
            started_ns=time.monotonic_ns(),
            max_body_bytes=max_body_bytes,
            note=note,
        )

    def done(self) -> None:
        """Mitmproxy shuts down: the capture is closed."""
        if self.account is None:
            self.account = self._own_sink.close(in_flight=self.end(), connections=self.connections)
