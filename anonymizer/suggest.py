"""A policy proposed for a capture: what was found in it and where, as counts and masked shapes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from anonymizer.census import Census
from anonymizer.detectors.base import KEPT_BY_DEFAULT, Kind
from anonymizer.exchange_scrubber import ExchangeScrubber
from anonymizer.fields import Watcher
from anonymizer.passes import Passes
from anonymizer.policy import Policy
from anonymizer.report import Report
from captures.keys import Prf, new_key
from captures.reader import CaptureReader
from captures.text import counted

_MOST_PLACES = 8  # of one kind that are listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A policy as TOML, and what it rests on."""

    text: str
    kinds: int
    fields: int
    unknown: int


def survey(reader: CaptureReader, policy: Policy, watcher: Watcher) -> Report:
    """
    Do all that anonymizing does but for writing; ``watcher`` hears of every field.

    Raises:
        CaptureError: the capture is damaged.

    """
    report = Report(policy=policy.name, key_fingerprint="")
    passes = Passes(policy, Prf(new_key()), report, watcher)
    _pass(reader, passes.collecting)
    _pass(reader, passes.replacing())
    return report


def suggest(reader: CaptureReader) -> Proposal:
    """
    A policy for the capture, with comments that say why; it holds no value.

    Raises:
        CaptureError: the capture is damaged.

    """
    census = Census()
    report = survey(reader, Policy(), census)
    lines = [*_head(reader.path, report), *_kinds(census), *_bodies(report), *_strict(census)]
    return Proposal(
        text="\n".join(lines) + "\n",
        kinds=len({kind for kind, _, _ in census.found}),
        fields=len({path for _, _, path in census.found}),
        unknown=len(census.unknown),
    )


def _pass(reader: CaptureReader, scrubber: ExchangeScrubber) -> None:
    for exchange in reader.exchanges():
        scrubber.exchange(exchange)
    for message in reader.messages():
        scrubber.message(message)
    scrubber.source(reader.header.source)


def _head(path: Path, report: Report) -> Iterator[str]:
    size = f"{counted(report.exchanges, 'exchange')} and {counted(report.messages, 'message')}"
    yield f"# Proposed for a capture of {size}."
    yield "# Shapes stand for values: a and A letters, 9 digits. Names of fields stand as they are."
    yield "# Read it, change what is wrong, and use it with: hookreel anonymize IN -o OUT --policy FILE"
    yield f"name = {_quoted(_plain_name(path.stem))}"
    yield ""


def _kinds(census: Census) -> Iterator[str]:
    yield "[kinds]  # pseudonymise, mask, hash, drop or keep"
    totals: Counter[str] = Counter()
    places: dict[str, Counter[tuple[str, str]]] = {}
    for (kind, endpoint, path), count in census.found.items():
        totals[kind] += count
        places.setdefault(kind, Counter())[endpoint, path] += count
    for kind, total in totals.most_common():
        if kind not in frozenset(Kind):
            continue
        yield f"# {kind}: {total} times in {counted(len(places[kind]), 'field')}"
        listed = sorted(places[kind].items(), key=lambda item: (-item[1], item[0]))
        for (endpoint, path), count in listed[:_MOST_PLACES]:
            shape = census.shapes.get((kind, path), "")
            yield _comment(f"#   {count} in {path} of {endpoint or 'messages'}, like {shape}")
        if len(listed) > _MOST_PLACES:
            yield f"#   and {len(listed) - _MOST_PLACES} more"
        yield f'{kind} = "pseudonymise"'
    absent = [kind for kind in Kind if kind not in totals and kind not in KEPT_BY_DEFAULT]
    if absent:
        yield f"# not found: {', '.join(absent)}"
    yield f"# left as they are unless this says otherwise: {', '.join(sorted(KEPT_BY_DEFAULT))}"
    yield ""


def _bodies(report: Report) -> Iterator[str]:
    yield "[bodies]"
    unread = counted(sum(report.undecodable.values()), "body", "bodies")
    yield f"# {unread} could not be read"
    yield 'undecodable = "blank"  # or drop'
    yield ""


def _strict(census: Census) -> Iterator[str]:
    yield "# With this table nothing is written when a field with text turns up in which nothing is found and"
    yield "# which is not listed here. Those of this capture are listed: take out what is personal, and"
    yield "# say above it what is done with it, for example"
    yield "#   [[rules]]"
    yield '#   path = "request.body.comment"'
    yield '#   action = "mask"'
    yield "[strict]"
    yield "fields = ["
    for path, field in sorted(census.unknown.items()):
        shapes = " or ".join(field.shapes)
        where = counted(len(field.endpoints), "endpoint")
        yield _comment(f"  {_quoted(path)},  # {field.count} at {where}, like {shapes}")
    yield "]"


def _plain_name(text: str) -> str:
    return "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "-" for char in text)[
        :60
    ]


def _quoted(text: str) -> str:
    """``text`` as a TOML string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char.isprintable() else f"\\u{ord(char):04X}" for char in escaped) + '"'


def _comment(line: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in line)
