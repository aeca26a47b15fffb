"""What `hookreel cat` shows: no secrets unasked, nothing that steers a terminal."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from captures.bodies.coding import encode
from captures.errors import UsageError
from captures.model import Exchange, Headers, Message, MessageKind, Request, Response
from captures.writer import CaptureWriter, new_header
from hookreel.captures_cli import cat
from hookreel.show import Show, exchange_lines, exchange_record, hide_in_url, hide_secrets, message_record


def make_exchange(target: bytes = b"/", headers: Headers = (), body: bytes = b"") -> Exchange:
    request = Request(
        method=b"POST",
        scheme=b"http",
        authority=b"user:sesame@h",
        target=target,
        http_version=b"HTTP/1.1",
        headers=headers,
        body=body,
    )
    response = Response(
        status=302,
        reason=b"Found",
        http_version=b"HTTP/1.1",
        headers=((b"Location", b"https://u:sesame@h/cb?code=sesame&page=2#id_token=sesame"),),
        offset_ns=1,
        end_ns=2,
        body=body,
    )
    return Exchange(seq=0, offset_ns=0, request_end_ns=0, connection=0, request=request, outcome=response)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (b"/a?api_key=s&page=2", b"/a?api_key=(hidden)&page=2"),
        (b"/a?page=2;X-Amz-Signature=s", b"/a?page=2;X-Amz-Signature=(hidden)"),
        (b"/a?API%5FKEY=s", b"/a?API%5FKEY=(hidden)"),
        (b"/a?code=s&state=x", b"/a?code=(hidden)&state=x"),
        (b"/a?client_secret=a=b", b"/a?client_secret=(hidden)"),
        (b"/a?token=&token", b"/a?token=&token"),
        (b"/a?zip_code=1&monkey=2&tokens_used=3", b"/a?zip_code=1&monkey=2&tokens_used=3"),
        (b"/a#access_token=s", b"/a#access_token=(hidden)"),
        (b"/a?next=/b?sig=s", b"/a?next=/b?sig=(hidden)"),
        (b"http://u:p@h/a", b"http://(hidden)@h/a"),
        (b"/token=abc/key", b"/token=abc/key"),
        (b"", b""),
    ],
)
def test_parameters_named_like_secrets_are_hidden(url: bytes, shown: bytes) -> None:
    """However the name is spelled; everything else stays byte for byte."""
    assert hide_in_url(url) == shown


def test_neither_lines_nor_json_show_a_secret_unasked() -> None:
    """In queries, URLs inside headers and before the host; all of it when asked for."""
    exchange = make_exchange(
        b"/?api_key=sesame", ((b"Referer", b"/x?token=sesame"), (b"Cookie", b"a=sesame"))
    )
    for show_secrets in (False, True):
        show = Show(bodies=True, secrets=show_secrets)
        lines = "\n".join(exchange_lines(exchange, (), show))
        record = json.dumps(exchange_record(exchange, show))
        assert lines.count("sesame") == (6 if show_secrets else 0)
        assert record.count("sesame") == (7 if show_secrets else 0)
    assert "/?api_key=(hidden)" in "\n".join(exchange_lines(exchange, (), Show()))


def test_a_megabyte_of_cookies_is_hidden() -> None:
    """Each value goes, and the names stay."""
    value = b"; ".join(b"c%06d=sesame" % number for number in range(60_000))
    assert hide_secrets(((b"Cookie", value),)) == ((b"Cookie", value.replace(b"sesame", b"(hidden)")),)


def test_nothing_that_steers_a_terminal_is_printed() -> None:
    """Targets, headers, bodies and messages come from anybody; lines of a body are set apart."""
    evil = b"\x1b]0;pwned\x07"
    exchange = make_exchange(b"/" + evil, ((b"A" + evil, evil),), b"one\n#1 two" + evil)
    message = Message(
        exchange=0, offset_ns=0, from_client=True, kind=MessageKind.TEXT, payload=b"x\n#2 y" + evil
    )
    lines = list(exchange_lines(exchange, [message], Show(bodies=True, secrets=True)))
    text = "\n".join(lines)
    assert text.count("\\x1b]0;pwned\\x07") == 6
    assert all(char.isprintable() or char == "\n" for char in text)
    assert not any(line.startswith("#") for line in text.splitlines())
    assert message_record(message, Show(bodies=True))["body"] == "x\n#2 y" + evil.decode()


@pytest.mark.parametrize("follow", [(), ("--follow",)])
def test_a_capture_printed_or_followed_steers_no_terminal(tmp_path: Path, follow: tuple[str, ...]) -> None:
    """Whatever way it is printed, an escape sequence in it comes out as text, and a key hidden."""
    exchange = make_exchange(b"/\x1b]0;pwned\x07?api_key=sesame")
    assert isinstance(exchange.outcome, Response)
    outcome = replace(exchange.outcome, stream=True, end_ns=None, headers=())
    message = Message(
        exchange=0, offset_ns=5, from_client=False, kind=MessageKind.EVENT, payload=b"data: \x1b[2J\n\n"
    )
    with CaptureWriter.create(tmp_path / "a.reel", new_header(source="a test", started_wall_ns=0)) as writer:
        writer.write(replace(exchange, outcome=outcome))
        writer.write_message(message)
    told = CliRunner().invoke(cat, [str(tmp_path / "a.reel"), "--bodies", *follow])
    assert told.exit_code == 0
    assert "/\\x1b]0;pwned\\x07?api_key=(hidden)" in told.stdout
    assert "data: \\x1b[2J" in told.stdout
    assert all(char.isprintable() or char == "\n" for char in told.stdout)
    assert "sesame" not in told.stdout


TEXT = b'{"a": 1}\x1b[2J'


@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"br", b"zstd", b"gzip, br"])
def test_bodies_are_shown_decoded(coding: bytes) -> None:
    """Whatever the content coding; what the body took in the capture stands beside it."""
    stored = encode(TEXT, coding)
    exchange = make_exchange(headers=((b"content-encoding", coding),), body=stored)
    lines = list(exchange_lines(exchange, (), Show(bodies=True)))
    assert f"    > [{coding.decode()} body of {len(stored)} B, decoded]" in lines
    assert '    > {"a": 1}\\x1b[2J' in lines
    said = exchange_record(exchange, Show(bodies=True))["request"]
    assert said["body"] == TEXT.decode()
    assert (said["content_coding"], said["decoded"], said["body_bytes"]) == (
        coding.decode(),
        True,
        len(stored),
    )
    assert "body" not in exchange_record(exchange, Show())["request"]


def test_raw_bodies_are_shown_as_recorded() -> None:
    """With their content coding, of which the JSON has every byte."""
    stored = encode(TEXT, b"gzip")
    exchange = make_exchange(headers=((b"Content-Encoding", b"gzip"),), body=stored)
    show = Show(bodies=True, raw=True)
    said = exchange_record(exchange, show)["request"]
    assert base64.b64decode(said["body_base64"]) == stored
    assert (said["content_coding"], said["decoded"]) == ("gzip", False)
    text = "\n".join(exchange_lines(exchange, (), show))
    assert f"[gzip body of {len(stored)} B, as recorded]" in text
    assert '{"a": 1}' not in text


@pytest.mark.parametrize(
    ("coding", "body", "why"),
    [
        (b"gzip", encode(TEXT, b"gzip")[:-5], "damaged gzip body"),
        (b"br", b"no brotli at all", "damaged br body"),
        (b"compress\x1b[2J", b"abc", "unknown content coding"),
    ],
)
def test_a_body_that_cannot_be_decoded_says_so(coding: bytes, body: bytes, why: str) -> None:
    """It is then shown as recorded, and nothing of it steers a terminal."""
    exchange = make_exchange(headers=((b"content-encoding", coding),), body=body)
    text = "\n".join(exchange_lines(exchange, (), Show(bodies=True)))
    assert f"as recorded, since it cannot be decoded: {why}" in text
    assert all(char.isprintable() or char == "\n" for char in text)
    said = exchange_record(exchange, Show(bodies=True))["request"]
    assert said["decoded"] is False
    assert said["decoding_error"].startswith(why)


def test_a_cut_body_says_how_much_is_not_there() -> None:
    """A body that is not whole is never shown as if it were."""
    exchange = make_exchange(body=b"half")
    exchange = replace(exchange, request=replace(exchange.request, truncated_bytes=20))
    assert "    > [20 B more are not in the capture]" in list(exchange_lines(exchange, (), Show(bodies=True)))


def test_raw_without_bodies_is_wrong_usage(tmp_path: Path) -> None:
    """An option that would do nothing is refused."""
    with pytest.raises(UsageError, match="--bodies"):
        CliRunner().invoke(cat, [str(tmp_path / "a.reel"), "--raw"], catch_exceptions=False)
