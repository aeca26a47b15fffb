"""Real GitHub webhook bodies: what must change does, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anonymizer.audit import audit
from captures.bodies.json import LeafRole, scan
from captures.model import Exchange
from captures.reader import CaptureReader
from captures.signatures import sign, verify

PAYLOADS = Path(__file__).parents[3] / "shared" / "data" / "github_webhooks.jsonl"
SECRET = b"It's a Secret to Everybody"
# Logins and addresses that stand in the payloads, of people and organizations.
PERSONAL = re.compile(
    rb"codertocat|octocoders|octo-org|hacktocat|monalisa|wolfy1339|lineville|rachmari|ilmax|dan2wik|jide2020|"
    rb"hellomouse|codebytere|massimiliano|donini|matfax|Mona Lisa|Matthias Fax|username@email\.com",
    re.IGNORECASE,
)
STRUCTURAL_KEYS = """
action type state status conclusion event ref ref_type sha before after head_sha node_id created_at
updated_at spdx_id key permission visibility default_branch language author_association merge_commit_sha
ecosystem severity version tag_name color cve_id ghsa_id digest content_type zen secret
"""
STRUCTURAL = frozenset(STRUCTURAL_KEYS.split())


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, (*path, "[]"))
    else:
        yield path, value


def signed(make_exchange: Any, seq: int, row: dict[str, Any]) -> Exchange:
    # escapes as servers write them, so that untouched bytes have something to lose
    body = json.dumps(row["payload"], ensure_ascii=seq % 2 == 0, indent=seq % 3 or None).encode()
    return make_exchange(
        seq,
        body=body,
        headers=(
            (b"Host", b"hooks.test"),
            (b"X-GitHub-Event", row["event"].encode()),
            (b"X-GitHub-Delivery", b"72d3162e-cc78-11e3-81ab-4c9367dc0958"),
            (b"Content-Type", b"application/json"),
            (b"Content-Length", b"%d" % len(body)),
            (b"X-Hub-Signature-256", b"sha256=" + b"0f" * 32),
        ),
    )


@pytest.fixture(scope="module")
def payloads(make_exchange_once: Any) -> list[Exchange]:
    rows = [json.loads(line) for line in PAYLOADS.read_text().splitlines()]
    assert len(rows) == 329
    return [signed(make_exchange_once, seq, row) for seq, row in enumerate(rows)]


@pytest.fixture(scope="module")
def result(payloads: list[Exchange], anonymized_once: Any) -> Any:
    return anonymized_once(*payloads)


def test_structure_types_and_numbers_stay(payloads: list[Exchange], result: Any) -> None:
    """Each body stays valid JSON with the same keys, types, numbers and structural words."""
    structural = changed = 0
    for before, after in zip(payloads, result.exchanges, strict=True):
        old = list(leaves(json.loads(before.request.body)))
        new = list(leaves(json.loads(after.request.body)))
        assert [path for path, _ in old] == [path for path, _ in new]
        for (path, value), (_, other) in zip(old, new, strict=True):
            assert type(value) is type(other)
            if not isinstance(value, str):
                assert value == other
            elif path[-1] in STRUCTURAL:
                structural += 1
                changed += value != other
    assert structural > 5_000
    assert changed / structural <= 0.01


def test_untouched_bytes_stay(payloads: list[Exchange], result: Any) -> None:
    """Between the leaves, and in numbers and literals, no byte differs."""
    for before, after in zip(payloads, result.exchanges, strict=True):
        assert skeleton(before.request.body) == skeleton(after.request.body)


def skeleton(body: bytes) -> list[bytes]:
    parts, position = [], 0
    for leaf in scan(body):
        if leaf.role is LeafRole.STRING:
            parts.append(body[position : leaf.start])
            position = leaf.stop
    return [*parts, body[position:]]


def test_nobody_is_left(result: Any) -> None:
    """No login, name or address of the payloads is in any byte of the output."""
    for one in result.exchanges:
        assert PERSONAL.search(one.request.body) is None


def test_the_audit_finds_no_leak(result: Any) -> None:
    """The independent audit of original and copy is clean."""
    with CaptureReader.open(result.before) as before, CaptureReader.open(result.after) as after:
        report = audit(before, after)
    assert report.leaks == ()
    assert report.clean


def test_signatures_can_be_made_again(result: Any) -> None:
    """The recipe signs the new body so that a target accepts it, and a tampered body is refused."""
    for one in result.exchanges:
        headers, body = one.request.headers, one.request.body
        assert one.signing is not None
        assert dict(headers)[b"X-Hub-Signature-256"] == b"sha256=" + b"0" * 64
        assert dict(headers)[b"Content-Length"] == b"%d" % len(body)
        values = sign(one.signing, secret=SECRET, headers=headers, body=body, now_s=1)
        sent = tuple((name, values.get(name.lower(), value)) for name, value in headers)
        assert verify(one.signing, secret=SECRET, headers=sent, body=body, now_s=1)
        assert not verify(one.signing, secret=SECRET, headers=sent, body=body + b" ", now_s=1)


def test_links_between_fields_stay(result: Any) -> None:
    """A login and the URLs that hold it get the same stand-in."""
    links = 0
    for one in result.exchanges:
        for owner in find_objects(json.loads(one.request.body)):
            assert owner["html_url"].rsplit("/", 1)[1].removesuffix("[bot]") in owner["login"]
            links += 1
    assert links > 1_000


def find_objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if {"login", "html_url"} <= value.keys():
            yield value
        for inner in value.values():
            yield from find_objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from find_objects(inner)


def test_anonymizing_twice_leaks_nothing(result: Any, audited_twice: Any) -> None:
    """Under another key the stand-ins are replaced too, and neither they nor the originals are left."""
    for report in audited_twice(result):
        assert report.originals > 40
        assert report.leaks == ()
        assert report.unreplaced == ()
