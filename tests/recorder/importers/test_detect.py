from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from captures.errors import HookreelError, UsageError
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


CAPTURE = b"\x89REEL\r\n\x1a" + bytes(90)


@pytest.mark.parametrize(
    ("content", "exit_code", "sentence"),
    [
        (CAPTURE, 2, "hookreel merge"),
        (CAPTURE[:63], 1, "the beginning of a capture"),
        (CAPTURE[:5], 1, "the beginning of a capture"),
        (b"\x89HRUN\r\n\x1a" + bytes(90), 2, "the run of a replay"),
        (b"odd", 2, "is none of"),
        (b'{"openapi": "3.0.0"}', 2, "without a list log.entries"),
        (b"", 1, "is empty"),
        (gzip.compress(b"", mtime=0), 1, "is empty"),
        (b'{"log": {"version": "1.2",', 1, "ends before"),
        (b"1 0123456789abcdef 17 ", 1, "no GoReplay record that is whole"),
        (b"1398:4:type;4:http;", 1, "no mitmproxy flow that is whole"),
        (b"\xd4\xc3\xb2\xa1\x02\x00", 1, "does not begin as a whole"),
    ],
)
def test_a_wrong_file_is_told_from_a_damaged_one(
    tmp_path: Path, content: bytes, exit_code: int, sentence: str
) -> None:
    """Another kind of file is wrong usage, a damaged file a failure; one sentence says which it is."""
    path = tmp_path / "given"
    path.write_bytes(content)
    with pytest.raises(HookreelError, match=sentence) as caught:
        open_source(path)
    assert caught.value.exit_code == exit_code
    assert str(caught.value).count(". ") == 0
    assert "given" in str(caught.value)


def test_a_folder_cannot_be_imported(tmp_path: Path) -> None:
    """A folder is refused with what to do instead."""
    with pytest.raises(UsageError, match="a folder"):
        open_source(tmp_path)
