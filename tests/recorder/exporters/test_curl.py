from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captures.model import Exchange, Headers, Message, Request
from recorder.exporters.curl import curl_command, quote

# Stands for curl: writes its arguments and what comes on standard input, each as hex.
FAKE_CURL = """curl() { printf '%s\\0' "$@" | od -An -v -tx1 | tr -d ' \\n'; printf ' ';
  case " $* " in *' @- '*) od -An -v -tx1 | tr -d ' \\n';; esac; printf '\\n'; }
"""


def run(script: bytes) -> list[tuple[list[bytes], bytes]]:
    """What each curl of a script got: arguments and standard input."""
    done = subprocess.run(["bash"], input=FAKE_CURL.encode() + script, capture_output=True, check=True)
    assert done.stderr == b""
    calls = []
    for line in done.stdout.splitlines():
        arguments, _, data = line.partition(b" ")
        calls.append((bytes.fromhex(arguments.decode()).split(b"\0")[:-1], bytes.fromhex(data.decode())))
    return calls


def option(arguments: list[bytes], name: bytes) -> list[bytes]:
    return [value for key, value in itertools.pairwise(arguments) if key == name]


def hide(headers: Headers) -> Headers:
    return tuple(
        (name, b"(hidden)" if name.lower() == b"authorization" else value) for name, value in headers
    )


REQUEST = Request(
    method=b"POST",
    scheme=b"http",
    authority=b"h.example",
    target=b"/p?a='b'&token=t0ps3cret&x=1",
    http_version=b"HTTP/1.1",
    headers=((b"Host", b"h.example"), (b"Authorization", b"Bearer s3cr3t"), (b"X-Empty", b""),
             (b"X-'", b"$(id) `id`")),
    body=b"it's $HOME\n@file",
)  # fmt: skip


def test_command_sends_the_request() -> None:
    """Method, URL, headers and body reach curl exactly, whatever they hold for the shell."""
    [(arguments, _)] = run(curl_command(REQUEST, visible=None))
    assert arguments[-1] == b"http://h.example/p?a='b'&token=t0ps3cret&x=1"
    assert option(arguments, b"--request") == [b"POST"]
    assert option(arguments, b"--data-raw") == [b"it's $HOME\n@file"]
    assert option(arguments, b"--header") == [
        b"Authorization: Bearer s3cr3t", b"X-Empty;", b"X-': $(id) `id`", b"user-agent:",
        b"accept:", b"content-type:",
    ]  # fmt: skip


def test_secrets_are_hidden() -> None:
    """Without being asked for, neither a header's nor a parameter's secret is shown."""
    command = curl_command(REQUEST, visible=hide)
    assert b"s3cr3t" not in command
    assert b"t0ps3cret" not in command
    [(arguments, _)] = run(command)
    assert arguments[-1].endswith(b"&token=(hidden)&x=1")


@pytest.mark.parametrize(
    "body", [b"\x00\xff binary", b"x" * 200_000, "é".encode() * 9, bytes(range(1, 256)) * 3]
)
def test_bodies_that_are_no_short_text(body: bytes) -> None:
    """Binary and long bodies come in on standard input, whole."""
    [(arguments, data)] = run(curl_command(replace(REQUEST, body=body), visible=None))
    assert body in (data, b"".join(option(arguments, b"--data-raw")))


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.binary(max_size=30), min_size=1, max_size=8))
def test_any_bytes_are_one_word(values: list[bytes]) -> None:
    """Quoting keeps every byte but NUL, and no value becomes two words or a command."""
    script = b"curl " + b" ".join(quote(value) for value in values) + b"\n"
    [(arguments, _)] = run(script)
    assert arguments == [value.replace(b"\0", b"") for value in values]


def test_script_of_a_capture(
    variety: tuple[list[Exchange], list[Message]], write_capture: Callable[..., Path], export_bytes: Any
) -> None:
    """A script has a command for each request, in order, and says what it does not hold."""
    data, notes = export_bytes(write_capture(*variety), "curl")
    calls = run(data)
    assert [arguments[-1] for arguments, _ in calls] == [
        b"%s://%s%s" % (one.request.scheme, one.request.authority, one.request.target) for one in variety[0]
    ]
    assert b"--head" in calls[11][0]
    assert notes.lost["streams' messages"] == 3
    assert notes.lost["trailers"] == 1
