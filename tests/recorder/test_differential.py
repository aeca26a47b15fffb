"""
Odd but legal HTTP/1.1, sent to a server directly and through the recorder: both sides see the same.

Permitted differences, listed in docs/format.md: chunk boundaries and extensions, spaces around
header values, and Expect, which the proxy answers itself. Everything else is compared: request
and status line, header list with order, case and duplicates, body, trailers. The capture is
compared with what was sent, too.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from captures.model import Response
from tests.recorder.support import Answer, RawClient, RawServer, Recorder, Seen, read_capture

CASES = 240
METHODS = (
    "GET",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "HEAD",
    "PROPFIND",
    "QUERY",
    "M-SEARCH",
    "purge",
)
TAILS = (
    *(
        "",
        "?",
        "?a=1&a=2&b",
        "?q=%2F%2f%20+%C3%A9",
        "/../x",
        "//double//",
        ";v=1/y",
        "?x[]=1&y={z}|w",
        "/%00%ff",
    ),
    *("/" + "long" * 500, "/.", "/a:b@c", "?redirect=https://h/p?q#", "/'()*!$&,=~", "?" + "k=v&" * 400),
)
NAMES = (
    *(
        "Accept",
        "accept",
        "X-oDD-CaSe",
        "x-odd-case",
        "Cookie",
        "cookie",
        "Authorization",
        "Via",
        "TE",
        "DNT",
    ),
    *(
        "X!#$%&'*+-.^_`|~1",
        "Content-Type",
        "Content-Encoding",
        "If-None-Match",
        "Forwarded",
        "Pragma",
        "Range",
    ),
)
RESPONSE_NAMES = (
    *(
        "Server",
        "server",
        "Set-Cookie",
        "set-cookie",
        "ETag",
        "Vary",
        "X-oDD-CaSe",
        "Content-Type",
        "Location",
    ),
    *("Cache-Control", "WWW-Authenticate", "Warning", "Date", "Age", "Link", "Content-Encoding", "Alt-Svc"),
)
VALUES = (
    *(
        b"",
        b"*/*",
        b"a, b;q=0.5",
        b'"quoted, \\" comma"',
        b"caf\xe9",
        "grün".encode(),
        b"tab\tinside",
        b"a=1; b=2",
    ),
    *(
        b"Basic dXNlcjpwYXNz",
        b"x" * 8000,
        b'W/"1"',
        b"1",
        b"two  spaces",
        b"http://h/p?q=1#f",
        b"\xff\xfe",
        b"br",
    ),
)
STATUSES = (
    200,
    201,
    202,
    203,
    204,
    206,
    226,
    299,
    300,
    301,
    302,
    304,
    307,
    400,
    401,
    404,
    418,
    429,
    500,
    503,
    599,
)
REASONS = (b"OK", b"", b"Something Else Entirely", b"r\xe9ason", b"with  two spaces")


@dataclass(frozen=True)
class Case:
    """One exchange as bytes; ``closes`` says that the connection ends with the response."""

    target: str
    request: bytes
    answer: tuple[object, ...]
    closes: bool


def make_case(number: int, rng: random.Random) -> Case:
    method = rng.choice(METHODS)
    target = f"/{number}{rng.choice(TAILS)}"
    if method == "OPTIONS" and rng.random() < 0.3:
        target = "*"
    request = f"{method} {target} HTTP/1.1\r\n".encode("latin-1")
    fields = [b"Host: " + rng.choice((b"h", b"EXAMPLE.test:8080", b"[::1]:80"))]
    fields += some_fields(rng, NAMES)
    rng.shuffle(fields)
    framing, body = framed_body(rng, may_close=False)
    request += b"\r\n".join([*fields, *framing]) + b"\r\n\r\n" + body
    answer, closes = make_answer(method, rng)
    return Case(target=target, request=request, answer=(answer, None) if closes else (answer,), closes=closes)


def make_answer(method: str, rng: random.Random) -> tuple[bytes, bool]:
    status = rng.choice(STATUSES)
    version = b"HTTP/1.1"
    framing, body = framed_body(rng, may_close=True)
    closes = not framing
    if method == "HEAD" or status in {204, 304}:
        body, closes = b"", False
        if status == 204:
            framing = []
    elif closes and rng.random() < 0.5:
        version = b"HTTP/1.0"
    head = [b"%s %d %s" % (version, status, rng.choice(REASONS)), *some_fields(rng, RESPONSE_NAMES), *framing]
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" if rng.random() < 0.1 else b""
    return interim + b"\r\n".join(head) + b"\r\n\r\n" + body, closes


def some_fields(rng: random.Random, names: tuple[str, ...]) -> list[bytes]:
    fields = []
    for _ in range(rng.randrange(9)):
        space = rng.choice((b" ", b" ", b" ", b"", b"   ", b"\t"))
        fields.append(
            rng.choice(names).encode() + b":" + space + rng.choice(VALUES) + rng.choice((b"", b"", b" "))
        )
    return fields


def framed_body(rng: random.Random, *, may_close: bool) -> tuple[list[bytes], bytes]:
    size = rng.choice((0, 1, 10, 1000, 70_000, 300_000))
    body = rng.randbytes(size)
    kind = rng.random()
    if kind < 0.2:
        return ([], b"") if not may_close else ([], body)
    if kind < 0.6:
        return [rng.choice((b"Content-Length", b"content-length")) + b": %d" % size], body
    trailers = b""
    if rng.random() < 0.5:
        trailers = b"X-Sum: 1\r\nx-sum: caf\xe9\r\nX-Empty: \r\n"
    framing = [rng.choice((b"Transfer-Encoding: chunked", b"transfer-encoding: Chunked"))]
    return framing, in_chunks(body, rng) + b"0\r\n" + trailers + b"\r\n"


def in_chunks(body: bytes, rng: random.Random) -> bytes:
    out = b""
    while body:
        size = min(len(body), rng.choice((1, 7, 4096, 65_536)) if len(body) < 5000 else 65_536)
        extension = rng.choice((b"", b"", b";ext=1", b';a="b c"'))
        out += rng.choice((b"%x", b"%X")) % size + extension + b"\r\n" + body[:size] + b"\r\n"
        body = body[size:]
    return out


def send(cases: list[Case], port: int) -> list[Answer]:
    answers = []
    client = RawClient(port)
    for case in cases:
        answer = client.call(case.request)
        while 100 <= answer.status < 200:
            answer = client.answer(no_body=case.request.startswith(b"HEAD "))
        answers.append(answer)
        if case.closes:
            client.close()
            client = RawClient(port)
    client.close()
    return answers


def heard(head: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """The first line and the header list, without spaces around values."""
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    fields = [line.split(b":", 1) for line in lines if line]
    return first.rstrip(b" "), [(name, value.strip(b" \t")) for name, value in fields]


def trailers_of(raw: bytes) -> list[tuple[bytes, bytes]]:
    return heard(b"\r\n" + raw)[1]


@dataclass(frozen=True)
class Runs:
    """The corpus sent twice."""

    cases: list[Case]
    direct: list[tuple[Seen, Answer]]
    through: list[tuple[Seen, Answer]]
    recorder: Recorder


@pytest.fixture(scope="module", params=[1, 2])
def runs(
    request: pytest.FixtureRequest,
    start_recorder: Callable[..., Recorder],
    start_server: Callable[..., RawServer],
) -> Runs:
    rng = random.Random(request.param)
    cases = [make_case(number, rng) for number in range(CASES // 2)]
    server = start_server()
    server.script = [case.answer for case in cases] * 2
    direct = send(cases, server.port)
    recorder = start_recorder(server.port)
    through = send(cases, recorder.port)
    assert recorder.stop() == 0
    middle = len(cases)
    return Runs(
        cases=cases,
        direct=list(zip(server.seen[:middle], direct, strict=True)),
        through=list(zip(server.seen[middle:], through, strict=True)),
        recorder=recorder,
    )


def test_the_server_sees_the_same(runs: Runs):
    """Request line, header list, body and trailers arrive as they do without a recorder."""
    for case, (plain, _), (recorded, _) in zip(runs.cases, runs.direct, runs.through, strict=True):
        assert heard(recorded.head) == heard(plain.head), case.request[:300]
        assert recorded.body == plain.body
        assert trailers_of(recorded.trailers) == trailers_of(plain.trailers)


def test_the_client_gets_the_same(runs: Runs):
    """Status line, header list, body and trailers come back as they do without a recorder."""
    for case, (_, plain), (_, recorded) in zip(runs.cases, runs.direct, runs.through, strict=True):
        assert heard(recorded.head) == heard(plain.head), case.answer
        assert recorded.body == plain.body
        assert trailers_of(recorded.trailers) == trailers_of(plain.trailers)


def test_the_capture_holds_the_same(runs: Runs):
    """What is written is what was sent and answered, in order."""
    capture = read_capture(runs.recorder.output)
    assert capture.counters["written"] == len(runs.cases)
    for exchange, (seen, answer) in zip(capture.exchanges, runs.direct, strict=True):
        request, response = exchange.request, exchange.outcome
        assert isinstance(response, Response)
        first, fields = heard(seen.head)
        assert b"%s %s %s" % (request.method, request.target, request.http_version) == first
        assert list(request.headers) == fields
        assert (request.body, list(request.trailers)) == (seen.body, trailers_of(seen.trailers))
        first, fields = heard(answer.head)
        assert (b"%s %d %s" % (response.http_version, response.status, response.reason)).rstrip() == first
        assert list(response.headers) == fields
        assert (response.body, list(response.trailers)) == (answer.body, trailers_of(answer.trailers))


def test_the_corpus_is_odd_enough():
    """Every kind of framing, method and status is in it."""
    cases = [make_case(number, random.Random(number)) for number in range(CASES)]
    requests = b"".join(case.request[:200] for case in cases)
    assert all(method.encode() + b" " in requests for method in METHODS)
    assert sum(b"X-Sum" in case.request for case in cases) > 10
    assert sum(case.closes for case in cases) > 10
    assert len({replace(case, target="") for case in cases}) == CASES
