"""A capture into a file of another format."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

from captures.errors import UsageError, WriteError
from captures.keys import create_private_file
from captures.reader import CaptureReader
from captures.slice import Window
from recorder.exporters.base import Exported, ExportNotes, Visible, exported

FORMATS = ("har", "mitmproxy", "jsonl", "curl")


def export_capture(
    reader: CaptureReader,
    kind: str,
    window: Window,
    *,
    out: Path | None,
    stdout: BinaryIO,
    visible: Visible | None,
) -> ExportNotes:
    """
    Write what is in ``window`` to ``out`` (a new file with mode 0600), or to ``stdout`` without one.

    ``visible`` hides secrets in curl commands; the other formats hold what the capture holds. When it
    fails, ``out`` is not left behind.

    Raises:
        UsageError: ``out`` exists, or the format is not known.
        CaptureError: the capture is damaged.
        WriteError: ``out`` cannot be written.

    """
    notes = ExportNotes()
    write = _writer(kind, visible)
    if out is None:
        write(exported(reader, window), stdout, notes)
        stdout.flush()
        return notes
    descriptor = create_private_file(out)
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(exported(reader, window, folder=out.parent), file, notes)
    except OSError as error:
        out.unlink(missing_ok=True)
        raise WriteError(f"{out} cannot be written ({error.strerror}); choose another place.") from error
    except BaseException:
        out.unlink(missing_ok=True)
        raise
    return notes


def _writer(
    kind: str, visible: Visible | None
) -> Callable[[Iterable[Exported], BinaryIO, ExportNotes], None]:
    # Each exporter is loaded when it is needed: mitmproxy takes a second to import.
    if kind == "har":
        from recorder.exporters.har import write_har  # noqa: PLC0415

        return write_har
    if kind == "mitmproxy":
        from recorder.exporters.mitm import write_mitmproxy  # noqa: PLC0415

        return write_mitmproxy
    if kind == "jsonl":
        from recorder.exporters.jsonl import write_jsonl  # noqa: PLC0415

        return write_jsonl
    if kind == "curl":
        from recorder.exporters.curl import write_curl  # noqa: PLC0415

        return lambda exchanges, file, notes: write_curl(exchanges, file, notes, visible=visible)
    raise UsageError(f"{kind!r} is no format; use one of {', '.join(FORMATS)}.")
