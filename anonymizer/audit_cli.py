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
from captures.reader import CaptureReader
from captures.units import format_size

EXIT_LEAK = 3
_SHOWN = 50
_CAPTURE_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("original", type=_CAPTURE_FILE)
@click.argument("anonymized", type=_CAPTURE_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text; it holds no value either.")
@click.pass_context
def audit(ctx: click.Context, original: Path, anonymized: Path, as_json: bool) -> None:
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
    with CaptureReader.open(original) as before, CaptureReader.open(anonymized) as after:
        report = run_audit(before, after)
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
        f"Not searched: {report.unsearched} too short, {_count(report.common, 'common word')}.",
    ]
    if report.undecodable:
        bodies = "1 body" if report.undecodable == 1 else f"{report.undecodable} bodies"
        lines.append(f"Searched as stored, since the content coding cannot be undone: {bodies}.")
    if report.clean:
        verdict = "No leak found." if report.originals else "No leak found, since nothing was searched."
        return "\n".join([*lines, verdict])
    rows = [
        (
            "-" if leak.exchange is None else leak.exchange,
            f"{leak.place} {leak.path}".rstrip(),
            leak.encoding,
            leak.shape,
            leak.replaced_at,
        )
        for leak in report.leaks[:_SHOWN]
    ]
    headers = ("exchange", "place", "encoding", "shape", "replaced at")
    table = tabulate(rows, headers=headers, disable_numparse=True)
    lines += ["", f"{_count(report.leak_count, 'leak')} found:", table]
    if report.leak_count > len(rows):
        lines.append(f"({report.leak_count - len(rows)} more; --json lists up to {len(report.leaks)})")
    return "\n".join(lines)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
