"""The sink: recorded answers for outbound calls, in order, in their time; nothing else."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from captures.model import Exchange, Failure, FailureReason, Response
from captures.reader import CaptureReader
from replayer.outbound import OutboundAnswers

Make = Callable[..., Exchange]
ROOT = Path(__file__).parents[2]
MS = 1_000_000


def answered(one: Exchange, body: bytes, **response: Any) -> Exchange:
    assert isinstance(one.outcome, Response)
    return replace(one, outcome=replace(one.outcome, body=body, **response))


@pytest.fixture
def recording(exchange: Make, capture: Callable[..., Path]) -> Path:
    """Two answers to one call, one of a charge with an id, a failure, a packed one."""
    slack = {"authority": b"hooks.slack.test", "method": b"POST", "target": b"/services/T0"}
    packed = ((b"Content-Encoding", b"gzip"), (b"Content-Type", b"text/x"), (b"X-A", b"1"), (b"X-A", b"2"))
    reset = Failure(reason=FailureReason.UPSTREAM_RESET, offset_ns=4 * MS)
    return capture(
        [
            answered(exchange(0, **slack), b"first"),
            answered(exchange(1, **slack), b"second", status=429),
            answered(exchange(2, authority=b"api.stripe.test:80", target=b"/v1/charges/17"), b'{"id":17}'),
            exchange(3, authority=b"down.test", failure=reset),
            answered(exchange(4, authority=b"z.test"), b"\x1f\x8b raw", headers=packed),
        ]
    )


@pytest.fixture
def sink(recording: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The command, listening."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hookreel", "sink", str(recording), "--listen", "127.0.0.1:0", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert process.stderr is not None
    found = re.search(r"http://\S+", process.stderr.readline())
    assert found is not None
    yield found[0], process
    process.kill()
    process.communicate()


def ask(
    url: str, host: str, target: str, method: str = "GET", data: bytes | None = None
) -> tuple[int, bytes, Any]:
    request = urllib.request.Request(url + target, data=data, method=method, headers={"Host": host})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as response:
            return response.status, response.read(), response.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers


def test_a_target_gets_recorded_answers(sink: tuple[str, subprocess.Popen[str]]) -> None:
    """In their order and again; alike where the id differs; 501 and a count for what is not known."""
    url, process = sink
    calls = [ask(url, "hooks.slack.test", "/services/T0", "POST", b"{}")[:2] for _ in range(3)]
    assert calls == [(200, b"first"), (429, b"second"), (200, b"first")]
    assert ask(url, "api.stripe.test", "/v1/charges/99")[:2] == (200, b'{"id":17}')
    assert ask(url, "api.stripe.test", "/v1/refunds/1?secret=x")[0] == 501
    assert ask(url, "other.test", "/v1/charges/17")[0] == 501
    status, body, headers = ask(url, "z.test", "/")
    assert (status, body, headers["Content-Encoding"], headers.get_all("X-A")) == (
        200,
        b"\x1f\x8b raw",
        "gzip",
        ["1", "2"],
    )
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        ask(url, "down.test", "/")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    account = json.loads(out)
    assert process.returncode == 3, err
    unknown = {"GET api.stripe.test/v1/refunds/{id}": 1, "GET other.test/v1/charges/{id}": 1}
    assert account == {
        "calls": 8, "answered_exactly": 5, "answered_alike": 1, "unknown": 2, "unknown_calls": unknown,
    }  # fmt: skip
    assert "secret" not in out + err


def test_the_sink_is_a_targets_proxy(sink: tuple[str, subprocess.Popen[str]]) -> None:
    """Asked in absolute form, as a proxy is, it answers for the host that is named there."""
    url, _ = sink
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": url}))
    with opener.open("http://api.stripe.test/v1/charges/17", timeout=10) as response:
        assert response.read() == b'{"id":17}'


def test_an_answer_takes_its_recorded_time(recording: Path) -> None:
    """The pause is that between request and last byte, unless it is not wanted."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    with CaptureReader.open(recording) as reader:
        for wanted in (True, False):
            answers = OutboundAnswers(reader, with_latency=wanted, sleep=sleep)
            found = answers.find(b"POST", b"hooks.slack.test", b"/services/T0", "http")
            assert found is not None
            assert found.seq == 0
            asyncio.run(_handled(answers))
    assert slept == [pytest.approx(2000 / 1e9)]


async def _handled(answers: OutboundAnswers) -> None:
    from aiohttp.test_utils import make_mocked_request

    request = make_mocked_request("GET", "/v1/charges/17", headers={"Host": "api.stripe.test"})
    request._read_bytes = b""
    response = await answers.handle(request)
    assert response.status == 200


def test_a_path_with_a_url_in_it_is_a_path(exchange: Make, capture: Callable[..., Path]) -> None:
    """Only a target that does not begin with a slash names scheme and host."""
    from aiohttp.test_utils import make_mocked_request

    calls = [
        answered(exchange(0, authority=b"a.test", target=b"/go/https://x.test/y"), b"went"),
        answered(exchange(1, authority=b"a.test", target=b"/y"), b"other"),
    ]
    with CaptureReader.open(capture(calls)) as reader:
        answers = OutboundAnswers(reader, with_latency=False)
        for target, expected in [("/go/https://x.test/y", b"went"), ("http://a.test/y", b"other")]:
            request = make_mocked_request("GET", target, headers={"Host": "a.test"})
            request._read_bytes = b""
            response = asyncio.run(answers.handle(request))
            assert isinstance(response, web.Response)
            assert response.body == expected


def test_a_capture_that_answers_nothing_is_refused(exchange: Make, capture: Callable[..., Path]) -> None:
    """A sink that could only say 501 is a mistake."""
    path = capture([exchange(0, status=101)])
    command = [sys.executable, "-m", "hookreel", "sink", str(path)]
    told = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=60)
    assert told.returncode == 2
    assert told.stderr.startswith("Error: ")
    assert "no exchange that could answer" in told.stderr
