from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from captures.errors import CaptureError, UsageError
from recorder.importers.detect import detect, open_source


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b'{"log": {', "har"),
        (b"\xef\xbb\xbf \r\n {", "har"),
        (b"1398:4:type;4:http;", "mitmproxy"),
        (b"1 0123456789abcdef 1700000000000000000\nGET / HTTP/1.1", "goreplay"),
        (b"2 0123456789abcdef 1700000000000000000 5\n", "goreplay"),
        (b"\xd4\xc3\xb2\xa1\x02\x00", "pcap"),
        (b"\xa1\xb2\x3c\x4d\x00\x02", "pcap"),
        (b"\x0a\x0d\x0d\x0a\x00\x00", "pcap"),
        (b"", None),
        (b"[]", None),
        (b"GET / HTTP/1.1\r\n", None),
        (b"<har>", None),
        (b"4 abc 5\n", None),
    ],
)
def test_content_tells_the_format(head: bytes, kind: str | None) -> None:
    """The first bytes of a file say what it is."""
    assert detect(head) == kind


def test_the_name_does_not_matter(tmp_path: Path) -> None:
    """A gzipped HAR under any name is opened as one."""
    path = tmp_path / "x.pcap"
    path.write_bytes(gzip.compress(b'{"log": {"entries": []}}'))
    source = open_source(path)
    assert source.format == "har"
    source.close()


def test_what_cannot_be_imported(tmp_path: Path) -> None:
    """A capture, a folder and an unknown file are refused with what to do instead."""
    (tmp_path / "capture").write_bytes(b"\x89REEL\r\n\x1a" + bytes(90))
    (tmp_path / "odd").write_bytes(b"odd")
    with pytest.raises(UsageError, match="hookreel merge"):
        open_source(tmp_path / "capture")
    with pytest.raises(UsageError, match="a folder"):
        open_source(tmp_path)
    with pytest.raises(CaptureError, match="is none of"):
        open_source(tmp_path / "odd")
