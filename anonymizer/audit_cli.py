"""The command `audit`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from tabulate import tabulate

from anonymizer.audit import AuditReport
from anonymizer.audit import audit as run_audit
from anonymizer.audit_kept import KeptOnPurpose, read_kept
from captures.reader import CaptureReader
from captures.units import format_size

EXIT_LEAK = 3
_SHOWN = 50
_CAPTURE_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("original", type=_CAPTURE_FILE)
@click.argument("anonymized", type=_CAPTURE_FILE)
@click.option(
    "--policy",
    "policy_path",
    type=_CAPTURE_FILE,
    help="The policy of anonymize: what it keeps is listed as kept and is no failure.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text; it holds no value either.")
@click.pass_context
def audit(
    ctx: click.Context, original: Path, anonymized: Path, policy_path: Path | None, as_json: bool
) -> None:
    """
    Search an anonymized capture for everything that was replaced in it.

    Needs no key and no report: every part of ORIGINAL that differs in ANONYMIZED is looked for in
    every byte of ANONYMIZED, in some 30 encodings (case, escapes, base64, hex, hashes, compressed
    bodies and others). Parts shorter than 6 bytes and common words such as `github` are counted
    and not searched. Exits with 3 when one survives and says where, in which encoding and in what
    shape, never the value.

    \b
    hookreel audit staging.reel safe.reel
    """
    kept = read_kept(policy_path) if policy_path else KeptOnPurpose()
    with CaptureReader.open(original) as before, CaptureReader.open(anonymized) as after:
        report = run_audit(before, after, kept=kept)
    for note in report.notes:
        click.echo(f"Note: {note}", err=True)
    click.echo(json.dumps(_as_json(report), indent=2) if as_json else _as_text(report))
    if not report.clean:
        ctx.exit(EXIT_LEAK)


def _as_json(report: AuditReport) -> dict[str, Any]:
    return {"clean": report.clean, **asdict(report)}


def _as_text(report: AuditReport) -> str:
    lines = [
        f"Searched {format_size(report.searched_bytes)} of {_count(report.exchanges, 'exchange')} and "
        f"{_count(report.messages, 'message')} for {_count(report.originals, 'replaced original')} in "
        f"{report.patterns} spellings.",
        f"Not searched: {report.unsearched} too short, {_count(report.common, 'common word')}, "
        f"{report.reserved} that belong to nobody.",
    ]
    if report.undecodable:
        bodies = "1 body" if report.undecodable == 1 else f"{report.undecodable} bodies"
        lines.append(f"Searched as stored, since the content coding cannot be undone: {bodies}.")
    if report.leaks:
        lines += _leak_lines(report)
    elif report.originals:
        lines.append("No leak found.")
    else:
        lines.append("No leak found, since nothing was searched.")
    if report.unreplaced:
        lines += _unreplaced_lines(report)
    else:
        lines.append("No value of a known shape was left unreplaced.")
    return "\n".join(lines)


def _leak_lines(report: AuditReport) -> list[str]:
    rows = [
        (_exchange(leak.exchange), _place(leak.place, leak.path), leak.encoding, leak.shape, leak.replaced_at)
        for leak in report.leaks[:_SHOWN]
    ]
    headers = ("exchange", "place", "encoding", "shape", "replaced at")
    table = tabulate(rows, headers=headers, disable_numparse=True)
    more = _more(report.leak_count - len(rows), len(report.leaks))
    return ["", f"{_count(report.leak_count, 'leak')} found:", table, *more]


def _unreplaced_lines(report: AuditReport) -> list[str]:
    rows = [
        (
            _exchange(value.exchange),
            _place(value.place, value.path),
            value.what,
            value.shape,
            "kept by the policy" if value.kept else "NOT REPLACED",
        )
        for value in report.unreplaced[:_SHOWN]
    ]
    total = report.unreplaced_count + report.kept_count
    title = (
        f"{_count(total, 'value')} of a known shape in both captures, {report.kept_count} kept on purpose:"
    )
    headers = ("exchange", "place", "what", "shape", "why")
    table = tabulate(rows, headers=headers, disable_numparse=True)
    return ["", title, table, *_more(total - len(rows), len(report.unreplaced))]


def _exchange(seq: int | None) -> str:
    return "-" if seq is None else str(seq)


def _place(place: str, path: str) -> str:
    return f"{place} {path}".rstrip()


def _more(count: int, listed: int) -> list[str]:
    return [f"({count} more; --json lists up to {listed})"] if count > 0 else []


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
