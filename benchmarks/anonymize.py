"""
The anonymizer's speed on GitHub's webhooks: bodies that repeat, bodies as traffic has them, all fresh.

    taskset -c 1 python -m benchmarks.anonymize [--mb 32] [--corpus deliveries] [--workers 1,2]

- *repeated*: every copy of a body is the same.
- *deliveries*: each delivery has ids, hashes, numbers and times of its own; people, organizations and
  repositories are the same, as they are for one receiver of webhooks. This is the headline.
- *fresh*: every string of every delivery is one that was not there before.

MB are decoded bodies, rates count the CPU time of the whole command: both passes over the capture,
reading and writing it included. ``--workers`` shows wall-clock time over that many processes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tabulate import tabulate

from anonymizer.policy import Policy
from anonymizer.stage import anonymize_capture
from captures.model import Exchange, Request, Response
from captures.writer import CaptureWriter, new_header

DATA = Path(__file__).parents[2] / "shared" / "data" / "github_webhooks.jsonl"
KEY = b"a key for benchmarks, 32 bytes.."
MB = 1_000_000

_CHANGING = re.compile(
    rb"(?<![0-9A-Za-z])(?:([0-9a-f]{40})|(\d{4}-\d\d-\d\dT\d\d:\d\d)|([1-9]\d{5,11}))(?![0-9A-Za-z])"
)
_STRING = re.compile(rb'(?<=[:\[,])"([^"\\]*(?:\\.[^"\\]*)*)"(?!:)')
_WORD = re.compile(rb"\\.|[0-9A-Za-z]+")
_URL = re.compile(rb"https?://[^/]+/(?:repos|users|orgs|teams|projects|u)?/?")


def payloads() -> list[tuple[bytes, bytes]]:
    """Event name and body of every webhook."""
    rows = [json.loads(line) for line in DATA.read_text().splitlines()]
    return [(row["event"].encode(), _dump(row["payload"])) for row in rows]


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _number(salt: bytes, value: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(value, key=salt, digest_size=8).digest())


def lasting_ids(value: Any) -> Iterator[bytes]:
    """The numbers of people, organizations and repositories in a payload."""
    if isinstance(value, dict):
        if isinstance(value.get("id"), int) and not value.keys().isdisjoint(("login", "full_name", "slug")):
            yield b"%d" % value["id"]
        for inner in value.values():
            yield from lasting_ids(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from lasting_ids(inner)


def next_delivery(body: bytes, salt: bytes, lasting: frozenset[bytes]) -> bytes:
    """``body`` with other hashes, times and numbers of things that come once."""

    def other(match: re.Match[bytes]) -> bytes:
        sha, moment, number = match.groups()
        if sha:
            return hashlib.blake2b(sha, key=salt, digest_size=20).hexdigest().encode()
        if moment:
            minute = _number(salt, moment) % (28 * 24 * 60)
            return moment[:8] + b"%02dT%02d:%02d" % (1 + minute // 1440, minute // 60 % 24, minute % 60)
        if number in lasting:
            return bytes(number)
        return b"%d" % (10 ** (len(number) - 1) + _number(salt, number) % (9 * 10 ** (len(number) - 1)))

    return _CHANGING.sub(other, body)


def all_fresh(body: bytes, salt: bytes) -> bytes:
    """``body`` with every string another one; what was equal in it stays equal, shapes stay too."""

    def word(match: re.Match[bytes]) -> bytes:
        text = match[0]
        if text.startswith(b"\\") or len(text) < 2:
            return text
        digits = iter(
            hashlib.blake2b(text.lower(), key=salt, digest_size=64).digest() * (1 + len(text) // 64)
        )
        return bytes(
            48 + next(digits) % 10 if 48 <= byte < 58 else (byte & 0xE0) + 1 + next(digits) % 26
            for byte in text
        )

    def string(match: re.Match[bytes]) -> bytes:
        text = match[1]
        head = _URL.match(text)
        start = head.end() if head else 0
        new = _WORD.sub(word, text[start:])
        if re.fullmatch(rb"\d{4}-\d\d-\d\dT.*", text):
            return next_delivery(match[0], salt, frozenset())
        return b'"%b%b"' % (text[:start], new)

    return _STRING.sub(string, next_delivery(body, salt, frozenset()))


def corpora() -> dict[str, Callable[[int], Iterator[tuple[bytes, bytes]]]]:
    """By name: what gives the event and body of each delivery of copy ``n``."""
    once = payloads()
    lasting = frozenset(number for _, body in once for number in lasting_ids(json.loads(body)))

    def repeated(_copy: int) -> Iterator[tuple[bytes, bytes]]:
        yield from once

    def deliveries(copy: int) -> Iterator[tuple[bytes, bytes]]:
        for place, (event, body) in enumerate(once):
            yield event, next_delivery(body, b"%d-%d" % (copy, place), lasting)

    def fresh(copy: int) -> Iterator[tuple[bytes, bytes]]:
        for place, (event, body) in enumerate(once):
            yield event, all_fresh(body, b"%d-%d" % (copy, place))

    return {"repeated": repeated, "deliveries": deliveries, "fresh": fresh}


def exchange(seq: int, event: bytes, body: bytes) -> Exchange:
    """One signed delivery and its short answer."""
    digest = hashlib.sha256(body).hexdigest().encode()
    offset_ns = seq * 1_000_000
    return Exchange(
        seq=seq,
        offset_ns=offset_ns,
        request_end_ns=offset_ns + 20_000,
        connection=seq % 16,
        request=Request(
            method=b"POST",
            scheme=b"http",
            authority=b"127.0.0.1:8080",
            target=b"/api/hooks/acme-github",
            http_version=b"HTTP/1.1",
            headers=(
                (b"Host", b"127.0.0.1:8080"),
                (b"User-Agent", b"GitHub-Hookshot/044aadd"),
                (b"Accept", b"*/*"),
                (b"X-GitHub-Event", event),
                (b"X-GitHub-Delivery", digest[:8] + b"-72d3-11e3-81ab-" + digest[8:20]),
                (b"Content-Type", b"application/json"),
                (b"X-Hub-Signature-256", b"sha256=" + digest),
                (b"Content-Length", b"%d" % len(body)),
            ),
            body=body,
        ),
        outcome=Response(
            status=200,
            reason=b"OK",
            http_version=b"HTTP/1.1",
            headers=((b"Content-Type", b"application/json"), (b"Content-Length", b"11")),
            offset_ns=offset_ns + 30_000,
            end_ns=offset_ns + 40_000,
            body=b'{"ok":true}',
        ),
    )


def write_capture(path: Path, copies: Iterator[Iterator[tuple[bytes, bytes]]], limit_bytes: int) -> int:
    """Whole copies into a capture until there are ``limit_bytes`` of bodies; gives how many there are."""
    size = seq = 0
    with CaptureWriter.create(path, new_header(source="benchmark", started_wall_ns=0)) as writer:
        for copy in copies:
            for event, body in copy:
                writer.write(exchange(seq, event, body))
                size += len(body)
                seq += 1
            if size >= limit_bytes:
                break
    return size


def cpu_s() -> float:
    """CPU time of this process and of those it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def measure(
    folder: Path,
    name: str,
    corpus: Callable[[int], Iterator[tuple[bytes, bytes]]],
    limit_bytes: int,
    workers: list[int],
) -> list[list[Any]]:
    """One row for each count of workers."""
    source = folder / f"{name}.reel"
    size = write_capture(source, map(corpus, range(10_000)), limit_bytes)
    rows: list[list[Any]] = []
    for count in workers:
        destination = folder / f"{name}-{count}.reel"
        started_cpu_s, started_s = cpu_s(), time.perf_counter()
        report = anonymize_capture(source, destination, policy=Policy(), key=KEY, workers=count).report
        used_s, wall_s = cpu_s() - started_cpu_s, time.perf_counter() - started_s
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rows.append(
            [name, count, size / MB, size / MB / used_s, size / MB / wall_s, report.distinct_values, peak_mib]
        )
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mb", type=float, default=32, help="MB of bodies in each capture")
    parser.add_argument("--corpus", action="append", help="only this one; may be repeated")
    parser.add_argument("--workers", default="1", help="counts of processes, like 1,2")
    args = parser.parse_args()
    workers = [int(count) for count in args.workers.split(",")]
    rows: list[list[Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, corpus in corpora().items():
            if not args.corpus or name in args.corpus:
                rows += measure(Path(folder), name, corpus, int(args.mb * MB), workers)
    head = ["corpus", "workers", "MB", "MB per CPU s", "MB/s wall", "values", "peak MiB"]
    print(tabulate(rows, headers=head, floatfmt=".1f"))


if __name__ == "__main__":
    main()
