"""What a file is, told by its content and never by its name."""

from __future__ import annotations

import re
from pathlib import Path

from captures.errors import CaptureError, FileKindError, UsageError
from captures.frames import CAPTURE_MAGIC, FILE_HEADER, RUN_MAGIC
from recorder.importers.base import Source, open_bytes

_HEAD_BYTES = 4096
_PCAP = (
    b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4",  # us, little and big endian
    b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d",  # ns
    b"\x0a\x0d\x0d\x0a",  # pcapng
)  # fmt: skip
_GOR = re.compile(rb"[123] [0-9A-Za-z_\-]{1,128} \d{1,19}[ \n]")
_TNETSTRING = re.compile(rb"\d{1,12}:\d{1,12}:")
_JSON = re.compile(rb"(?:\xef\xbb\xbf)?\s*\{")


def detect(head: bytes) -> str | None:
    """``har``, ``mitmproxy``, ``goreplay`` or ``pcap`` by a file's first bytes; None for anything else."""
    if head.startswith(_PCAP):
        return "pcap"
    for name, pattern in (("har", _JSON), ("goreplay", _GOR), ("mitmproxy", _TNETSTRING)):
        if pattern.match(head):
            return name
    return None


def open_source(path: Path) -> Source:
    """
    Open a file with the importer for what it holds.

    Raises:
        UsageError: the file cannot be read, or is a capture already.
        FileKindError: it is in none of the formats.
        CaptureError: it is empty, or nothing of it can be read.

    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name the files in it.")
    with open_bytes(path) as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        raise CaptureError(f"{path.name} is empty; give a file that holds traffic.")
    if CAPTURE_MAGIC.startswith(head) or (head.startswith(CAPTURE_MAGIC) and len(head) < FILE_HEADER.size):
        raise CaptureError(
            f"{path.name} is the beginning of a capture and holds no traffic; give a whole one."
        )
    if head.startswith(CAPTURE_MAGIC):
        raise UsageError(f"{path} is a capture already; hookreel merge puts captures together.")
    if head.startswith(RUN_MAGIC):
        raise FileKindError(
            f"{path.name} is the run of a replay and holds no traffic; give a file with traffic."
        )
    kind = detect(head)
    # Each importer is loaded when it is needed: mitmproxy and scapy take a second to import.
    if kind == "har":
        from recorder.importers.har import open_har  # noqa: PLC0415

        return open_har(path)
    if kind == "goreplay":
        from recorder.importers.gor import open_gor  # noqa: PLC0415

        return open_gor(path)
    if kind == "mitmproxy":
        from recorder.importers.mitm import open_mitmproxy  # noqa: PLC0415

        return open_mitmproxy(path)
    if kind == "pcap":
        from recorder.importers.pcap import open_pcap  # noqa: PLC0415

        return open_pcap(path)
    raise FileKindError(
        f"{path.name} is none of HAR, mitmproxy flows, GoReplay, pcap or pcapng; "
        "give a file that one of these tools wrote."
    )
