"""Captures made in memory's terms and anonymized for real, through files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from anonymizer.audit import AuditReport, audit
from anonymizer.policy import Policy
from anonymizer.report import Report
from anonymizer.stage import anonymize_capture
from captures.codec import exchange_row, message_row
from captures.model import CaptureHeader, Counters, Exchange, Headers, Message, Request, Response
from captures.reader import CaptureReader
from captures.writer import CaptureWriter, new_header

KEY = b"a key for tests, 32 bytes long.."
OTHER_KEY = b"another key for tests, 32 bytes."


@dataclass(frozen=True, slots=True, kw_only=True)
class Anonymized:
    """What came out, and where the files are."""

    before: Path
    after: Path
    header: CaptureHeader
    counters: Counters
    exchanges: list[Exchange]
    messages: list[Message]
    report: Report

    def everything(self) -> bytes:
        """Every byte of every exchange and message, as one text to search in."""
        rows = [*map(exchange_row, self.exchanges), *map(message_row, self.messages)]
        return repr([*rows, self.header]).encode()  # that of an exchange itself shows no traffic


def exchange(
    seq: int = 0,
    *,
    method: bytes = b"POST",
    target: bytes = b"/hooks",
    authority: bytes = b"api.test:8080",
    headers: Headers = (),
    body: bytes = b"",
    response_headers: Headers = (),
    response_body: bytes = b"",
    reason: bytes = b"OK",
    truncated_bytes: int = 0,
    stream: bool = False,
) -> Exchange:
    """An exchange with everything that a test does not care about filled in."""
    offset_ns = seq * 1_000_000
    return Exchange(
        seq=seq,
        offset_ns=offset_ns,
        request_end_ns=offset_ns + 10,
        connection=0,
        request=Request(
            method=method,
            scheme=b"http",
            authority=authority,
            target=target,
            http_version=b"HTTP/1.1",
            headers=headers,
            body=body,
            truncated_bytes=truncated_bytes,
        ),
        outcome=Response(
            status=200,
            reason=reason,
            http_version=b"HTTP/1.1",
            headers=response_headers,
            offset_ns=offset_ns + 20,
            end_ns=offset_ns + 30,
            body=response_body,
            stream=stream,
        ),
    )


@pytest.fixture
def make_exchange() -> Callable[..., Exchange]:
    """Builds one exchange."""
    return exchange


def anonymize_exchanges(
    folder: Path,
    *exchanges: Exchange,
    messages: Iterable[Message] = (),
    policy: Policy | None = None,
    key: bytes = KEY,
    source: str = "record reverse:http://127.0.0.1:9",
) -> Anonymized:
    """Write a capture into ``folder``, anonymize it and read what came out."""
    count = len(list(folder.iterdir()))
    before, after = folder / f"in{count}.reel", folder / f"out{count}.reel"
    counters = Counters(seen=len(exchanges), written=len(exchanges))
    with CaptureWriter.create(before, new_header(source=source, started_wall_ns=1)) as writer:
        for one in exchanges:
            writer.write(one)
        for message in messages:
            writer.write_message(message)
        writer.close(counters)
    outcome = anonymize_capture(before, after, policy=policy or Policy(), key=key)
    with CaptureReader.open(after) as reader:
        return Anonymized(
            before=before,
            after=after,
            header=reader.header,
            counters=reader.counters,
            exchanges=list(reader.exchanges()),
            messages=list(reader.messages()),
            report=outcome.report,
        )


@pytest.fixture(scope="session")
def audited_twice() -> Callable[[Anonymized], list[AuditReport]]:
    """Anonymizes what came out once more with another key, and audits that against both before it."""

    def run(once: Anonymized) -> list[AuditReport]:
        twice = once.after.with_suffix(".twice.reel")
        anonymize_capture(once.after, twice, policy=Policy(), key=OTHER_KEY)
        reports = []
        for path in (once.before, once.after):
            with CaptureReader.open(path) as before, CaptureReader.open(twice) as after:
                reports.append(audit(before, after))
        return reports

    return run


@pytest.fixture
def anonymized(tmp_path: Path) -> Callable[..., Anonymized]:
    """Writes a capture, anonymizes it and reads both."""
    return partial(anonymize_exchanges, tmp_path)


@pytest.fixture(scope="module")
def anonymized_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Anonymized]:
    """The same for a result that all tests of a file share."""
    return partial(anonymize_exchanges, tmp_path_factory.mktemp("anonymized"))


@pytest.fixture(scope="module")
def make_exchange_once() -> Callable[..., Exchange]:
    """Builds one exchange for a result that all tests of a file share."""
    return exchange


@pytest.fixture
def through(anonymized: Callable[..., Anonymized]) -> Callable[..., Exchange]:
    """Anonymizes one exchange built from keywords."""

    def run(*, policy: Policy | None = None, **fields: object) -> Exchange:
        return anonymized(exchange(**fields), policy=policy).exchanges[0]

    return run
