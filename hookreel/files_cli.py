"""Commands that make files out of files: import, export, slice, merge."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from captures.conditions import any_holds, parse_condition
from captures.errors import UsageError
from captures.lineage import derived_header
from captures.merge import merge_captures, merged_header
from captures.provenance import provenance_sentence
from captures.reader import CaptureReader
from captures.slice import Window, slice_capture
from captures.text import clean, counted
from captures.units import parse_duration_ns
from captures.writer import CaptureWriter
from hookreel.show import hide_secrets

FILE = click.Path(path_type=Path)
FORMATS = ("har", "mitmproxy", "jsonl", "curl")  # recorder.exporters.output has them; it is loaded later

_new_capture = click.option(
    "-o",
    "--output",
    required=True,
    type=FILE,
    metavar="FILE",
    help="The capture to write; it must not exist.",
)


def _window_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which exchanges."""
    for option in reversed(
        (
            click.option(
                "--from",
                "start",
                metavar="DURATION",
                help="Leave out requests before this offset, like 1.5s.",
            ),
            click.option(
                "--to", "stop", metavar="DURATION", help="Leave out requests at this offset or later."
            ),
            click.option(
                "--match",
                multiple=True,
                metavar="CONDITION",
                help="Only exchanges that meet this, like 'method=POST path=/api/*'; repeated: or this.",
            ),
            click.option(
                "--ignore",
                multiple=True,
                metavar="CONDITION",
                help="No exchanges that meet this; may be repeated.",
            ),
            click.option(
                "--endpoint",
                "endpoints",
                multiple=True,
                metavar="LABEL",
                help="Only this endpoint label; may be repeated.",
            ),
            click.option(
                "--connection",
                "connections",
                multiple=True,
                type=click.IntRange(min=0),
                metavar="N",
                help="Only this client connection, by number; may be repeated.",
            ),
        )
    ):
        command = option(command)
    return command


def _window(
    reader: CaptureReader,
    start: str | None,
    stop: str | None,
    match: Sequence[str],
    ignore: Sequence[str],
    endpoints: Sequence[str],
    connections: Sequence[int],
) -> Window:
    unknown = [label for label in endpoints if label not in reader.endpoint_labels]
    if unknown:
        raise UsageError(
            f"The capture has no endpoint {unknown[0]!r}; hookreel info {reader.path} lists them."
        )
    wanted, unwanted = [parse_condition(text) for text in match], [parse_condition(text) for text in ignore]
    return Window(
        start_ns=None if start is None else parse_duration_ns(start),
        stop_ns=None if stop is None else parse_duration_ns(stop),
        endpoints=endpoints or None,
        connections=frozenset(connections) or None,
        wants=lambda exchange: (
            (not wanted or any_holds(wanted, exchange)) and not any_holds(unwanted, exchange)
        ),
    )


@click.command("import")
@click.argument("sources", nargs=-1, required=True, type=FILE, metavar="SRC...")
@_new_capture
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def import_(sources: tuple[Path, ...], output: Path, as_json: bool) -> None:
    """
    Make a capture of HAR, mitmproxy, GoReplay or pcap files.

    What a file is, is told by its content; - is the standard input. Several files are put together by the
    wall clock. What could not be taken, or had to be made up, is counted and said.

    \b
    Example:
      hookreel import browser.har -o browser.reel
      hookreel import day1.gor.gz day2.gor.gz -o days.reel
    """
    from recorder.importers.intake import import_files  # noqa: PLC0415  # scapy and mitmproxy are slow to load

    imported = import_files(sources, output)
    if as_json:
        exchanges = sum(source.counters.written for source in imported)
        record = {
            "capture": str(output),
            "exchanges": exchanges,
            "sources": [asdict(one) for one in imported],
        }
        click.echo(json.dumps(record, indent=2))
        return
    for source in imported:
        counters = source.counters
        click.echo(
            f"{source.name} ({source.format}): {counted(counters.seen, 'exchange')} seen, "
            f"{counters.written} written, {counters.dropped} dropped, {counters.truncated} truncated; "
            f"{counted(source.messages, 'message')}"
        )
        for what, count in source.remarks.items():
            click.echo(f"note: {source.name}: {counted(count, 'time')}: {what}", err=True)


@click.command()
@click.argument("capture", type=FILE)
@click.option("--format", "kind", required=True, type=click.Choice(FORMATS), help="What to write.")
@click.option(
    "-o", "--output", type=FILE, metavar="FILE", help="The file to write (default: standard output)."
)
@_window_options
@click.option(
    "--show-secrets", is_flag=True, help="Put credentials into curl commands instead of hiding them."
)
def export(
    capture: Path,
    kind: str,
    output: Path | None,
    show_secrets: bool,
    **chosen: Any,
) -> None:
    """
    Write a capture as HAR, mitmproxy flows, JSON lines or curl commands.

    HAR, mitmproxy flows and JSON lines hold all that the capture holds, credentials too. In curl commands
    credentials are hidden; bodies are not.

    \b
    Example:
      hookreel export staging.reel --format har -o staging.har
      hookreel export staging.reel --format curl --match 'status=5xx'
    """
    from recorder.exporters.output import export_capture  # noqa: PLC0415  # mitmproxy is slow to load

    with CaptureReader.open(capture) as reader:
        notes = export_capture(
            reader,
            kind,
            _window(reader, **chosen),
            out=output,
            stdout=sys.stdout.buffer,
            visible=None if show_secrets else hide_secrets,
        )
        problems, provenance = reader.problems, reader.header.anonymized
    click.echo(f"note: {capture} is {clean(provenance_sentence(provenance))}", err=True)
    if output is not None:
        click.echo(f"{output}: {counted(notes.exchanges, 'exchange')}, {counted(notes.messages, 'message')}")
    for what, count in sorted(notes.apart.items()):
        of_exchanges = f"of {counted(count, 'exchange')}"
        click.echo(
            f"note: {kind} has no place for the {what} {of_exchanges}; only hookreel reads them", err=True
        )
    for what, count in sorted(notes.lost.items()):
        click.echo(f"note: {kind} does not hold: {what}, in {counted(count, 'exchange')}", err=True)
    for problem in problems:
        click.echo(f"note: {problem}", err=True)


@click.command("slice")
@click.argument("capture", type=FILE)
@_new_capture
@_window_options
def slice_(capture: Path, output: Path, **chosen: Any) -> None:
    """
    Write a part of a capture as a capture of its own.

    Exchanges keep their numbers, connections and times. A stream that goes on after the part's end is
    cut there. A part of an encrypted capture is encrypted to the same recipients.

    \b
    Example:
      hookreel slice staging.reel --from 10s --to 20s -o peak.reel
      hookreel slice staging.reel --match 'path=/api/hooks/*' -o hooks.reel
    """
    with CaptureReader.open(capture) as reader:
        window = _window(reader, **chosen)
        with CaptureWriter.create(output, derived_header(reader), recipients=reader.recipients) as writer:
            sliced = slice_capture(reader, writer, window)
        total, problems = len(reader), reader.problems
    messages = counted(sliced.messages, "message")
    click.echo(f"{output}: {sliced.exchanges} of {counted(total, 'exchange')}, {messages}")
    if sliced.open_streams:
        go_on = "1 stream goes" if sliced.open_streams == 1 else f"{sliced.open_streams} streams go"
        click.echo(f"note: {go_on} on after the end of this part", err=True)
    for problem in problems:
        click.echo(f"note: {problem}", err=True)


@click.command()
@click.argument("inputs", nargs=-1, required=True, type=FILE, metavar="CAPTURE...")
@_new_capture
@click.option(
    "--mix",
    is_flag=True,
    help="Allow several anonymization keys, and anonymized captures beside others: that counts as raw.",
)
def merge(inputs: tuple[Path, ...], output: Path, mix: bool) -> None:
    """
    Put captures together, by the wall clock.

    Exchanges and connections are numbered anew. When one of the captures is encrypted, so is the result,
    to all their recipients.

    \b
    Example:
      hookreel merge worker-1.reel worker-2.reel -o both.reel
    """
    with ExitStack() as stack:
        readers = [stack.enter_context(CaptureReader.open(path)) for path in inputs]
        header = merged_header(readers, mix=mix)
        recipients = tuple(dict.fromkeys(name for reader in readers for name in reader.recipients))
        with CaptureWriter.create(output, header, recipients=recipients) as writer:
            merge_captures(readers, writer)
        total = sum(len(reader) for reader in readers)
        problems = [f"{reader.path}: {problem}" for reader in readers for problem in reader.problems]
        salts = {reader.header.fingerprint_salt for reader in readers}
    click.echo(f"{output}: {counted(total, 'exchange')} of {counted(len(inputs), 'capture')}")
    if header.anonymized is not None:
        click.echo(f"note: {output} is {clean(provenance_sentence(header.anonymized))}", err=True)
    if len(salts) > 1:
        click.echo(
            f"note: credential fingerprints are those of {inputs[0]}; the others' credentials have new ones",
            err=True,
        )
    for problem in problems:
        click.echo(f"note: {problem}", err=True)
