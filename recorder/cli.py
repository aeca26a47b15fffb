"""The commands ``record`` and ``ca``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import click

from captures.text import counted
from captures.units import NS_PER_MS, parse_duration_ns, parse_size_bytes
from recorder.ca import DEFAULT_CONFDIR, authority_folder, ensure_authority, export_certificate
from recorder.metrics import parse_metrics_address
from recorder.modes import parse_listen, parse_modes, parse_routes
from recorder.options import Choices, open_part_of, recording_options, withheld_line
from recorder.settings import MAX_WORKERS, RecorderSettings, Recording
from recorder.stopping import HURRIED_EXIT

_confdir_option = click.option(
    "--confdir",
    default=DEFAULT_CONFDIR,
    show_default=True,
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the recorder's certificate authority is; made when absent.",
)


@click.command()
@click.option(
    "--mode",
    "modes",
    required=True,
    multiple=True,
    metavar="MODE",
    help="reverse:URL (clients call the recorder instead of the server at URL), regular (clients use the "
    "recorder as their HTTP proxy), upstream:URL (the same, and it calls the proxy at URL), socks5, "
    "or transparent (connections are redirected to the recorder, which needs root). "
    "Repeat it with @HOST:PORT after each to listen at several addresses.",
)
@click.option(
    "--route",
    "routes",
    multiple=True,
    metavar="PLACE=URL",
    help="In reverse mode, requests for this HOST, /PATH or HOST/PATH go to another server; repeatable. "
    "The most exact one wins, the mode's URL takes the rest.",
)
@click.option(
    "--listen",
    default="127.0.0.1:8080",
    show_default=True,
    metavar="HOST:PORT",
    help="Where to accept connections for a mode without an address of its own; a port alone is on loopback, "
    "port 0 takes any free one.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The capture to write; an existing file is refused.",
)
@_confdir_option
@click.option(
    "--upstream-ca",
    default=None,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="PEM file of the CA that signed the upstream's certificate.",
)
@click.option("--ssl-insecure", is_flag=True, help="Do not verify the upstream's certificate.")
@click.option(
    "--max-body",
    default="16MiB",
    show_default=True,
    metavar="SIZE",
    help="Larger bodies pass whole and are stored cut, with a mark.",
)
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, MAX_WORKERS),
    metavar="N",
    help="Share the connections among N processes; their parts are merged by time at the end.",
)
@click.option(
    "--metrics",
    default=None,
    metavar="HOST:PORT",
    help="Serve readiness (/ready) and counters for Prometheus (/metrics) here; a port alone is on loopback.",
)
@click.option("--duration", default=None, metavar="TIME", help="Stop after this time, like 90s or 10m.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the ready line and the account as JSON, a line each."
)
@recording_options
def record(
    modes: tuple[str, ...],
    routes: tuple[str, ...],
    listen: str,
    output: Path,
    confdir: Path,
    upstream_ca: Path | None,
    ssl_insecure: bool,
    max_body: str,
    workers: int,
    metrics: str | None,
    duration: str | None,
    as_json: bool,
    choices: Choices,
) -> None:
    """
    Record the traffic that crosses a proxy.

    One line is printed when connections are accepted. Ctrl-C or SIGTERM ends the recording:
    requests on their way get a few seconds to be answered, and the account of what was seen,
    written and lost is printed. A full disk ends the recording and not the traffic (exit 1).

    The capture holds credentials as they were sent and is readable by you alone; `hookreel
    anonymize` makes a copy that may be shared.

    \b
    Example:
      hookreel record --mode reverse:http://localhost:3000 -o staging.reel
      curl http://127.0.0.1:8080/health
    """
    # mitmproxy takes most of a second to import, which other commands should not pay.
    from recorder.proxy import run_recorder  # noqa: PLC0415

    placed = parse_modes(modes, parse_listen(listen))
    settings = RecorderSettings(
        modes=placed,
        routes=parse_routes(routes, placed),
        output=output,
        confdir=confdir,
        max_body_bytes=parse_size_bytes(max_body),
        ssl_insecure=ssl_insecure,
        upstream_ca=upstream_ca,
        workers=workers,
        choices=choices,
        metrics=None if metrics is None else parse_metrics_address(metrics),
        duration_ns=None if duration is None else parse_duration_ns(duration),
    )

    def ready(urls: Sequence[str], metrics_url: str) -> None:
        if as_json:
            _print_now(_ready_json(settings, urls, metrics_url))
        else:
            _print_now(_ready_text(settings, urls) + (f"; metrics on {metrics_url}" if metrics_url else ""))

    with authority_folder(confdir, placed, output=output) as folder:
        recording = run_recorder(
            replace(settings, confdir=folder),
            on_listening=ready,
            note=_note,
            open_part=open_part_of(click.get_current_context()),
        )
    _print_now(json.dumps(_account_json(recording)) if as_json else _account_text(recording))
    _end(recording)


@click.command()
@_confdir_option
@click.option(
    "--export",
    default=None,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the certificate (PEM, no key) to this new file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print path and fingerprint as JSON.")
def ca(confdir: Path, export: Path | None, as_json: bool) -> None:
    """
    Show or export the certificate authority that clients must trust.

    Their TLS traffic can be recorded then; plain HTTP needs none of this. Trust it in the
    client only, for as long as you record: whoever has the key beside it can read what these
    clients send.

    \b
    curl      curl --cacert FILE https://127.0.0.1:8080/
    Python    SSL_CERT_FILE=FILE (requests: REQUESTS_CA_BUNDLE=FILE)
    Node      NODE_EXTRA_CA_CERTS=FILE
    Debian    copy FILE to /usr/local/share/ca-certificates/hookreel.crt, run update-ca-certificates

    \b
    Example:
      hookreel ca --export hookreel-ca.pem
    """
    authority = ensure_authority(confdir)
    if export is not None:
        export_certificate(authority, export)
    shown = export or authority.path
    if as_json:
        click.echo(json.dumps({"path": str(shown), "sha256": authority.fingerprint}))
    else:
        click.echo(f"{shown}\nSHA-256 {authority.fingerprint}")


def _end(recording: Recording) -> None:
    """The exit code; a cut capture is told about first."""
    if recording.account.cut_by:
        click.echo(f"Error: {recording.account.cut_by}", err=True)
        raise click.exceptions.Exit(1)
    if recording.hurried:
        raise click.exceptions.Exit(HURRIED_EXIT)


def _ready_json(settings: RecorderSettings, urls: Sequence[str], metrics_url: str) -> str:
    specs = [mode.spec for mode in settings.modes]
    line: dict[str, object] = {
        "listening": urls[0],
        "listeners": [{"url": url, "mode": spec} for url, spec in zip(urls, specs, strict=True)],
        "output": str(settings.output),
        "mode": specs[0],
    }
    return json.dumps(line | ({"metrics": metrics_url} if metrics_url else {}))


def _ready_text(settings: RecorderSettings, urls: Sequence[str]) -> str:
    if len(urls) == 1:
        return f"Recording on {urls[0]} to {settings.output} ({settings.modes[0].spec})"
    places = [f"{url} ({mode.spec})" for url, mode in zip(urls, settings.modes, strict=True)]
    return f"Recording on {', '.join(places)} to {settings.output}"


def _account_json(recording: Recording) -> dict[str, object]:
    account, added = recording.account, recording.added
    return {
        **asdict(account.counters),
        "connections": account.connections,
        "messages": account.messages,
        "messages_dropped": account.messages_dropped,
        "withheld": account.withheld,
        "withheld_uses": account.withheld_uses,
        "files": [str(path) for path in account.parts],
        "complete": not account.cut_by and not account.counters.dropped and not account.messages_dropped,
        "added_ns": {
            "exchanges": added.count,
            "p50": added.quantile_ns(0.5),
            "p99": added.quantile_ns(0.99),
            "max": added.max_ns,
        },
    }


def _account_text(recording: Recording) -> str:
    account, added = recording.account, recording.added
    counters = account.counters
    lines = [
        f"Seen {counted(counters.seen, 'exchange')} on {counted(account.connections, 'connection')}:",
        f"  written           {counters.written}",
        f"  sampled out       {counters.sampled_out}",
        f"  dropped           {counters.dropped}",
        f"  in flight at stop {counters.in_flight}",
    ]
    if counters.truncated:
        cut = counted(counters.truncated, "exchange has", "exchanges have")
        lines.append(f"{cut} a body of which only a part was kept.")
    if account.messages or account.messages_dropped:
        lines.append(f"Stream messages: {account.messages} written, {account.messages_dropped} dropped.")
    if account.withheld:
        lines.append(withheld_line(account))
    if len(account.parts) > 1:
        lines.append(f"Files: {', '.join(map(str, account.parts))}")
    if added.count:
        p50_ms, p99_ms = (added.quantile_ns(share) / NS_PER_MS for share in (0.5, 0.99))
        lines.append(f"The proxy's own time per exchange: p50 {p50_ms:.2f} ms, p99 {p99_ms:.2f} ms.")
    return "\n".join(lines)


def _note(text: str) -> None:
    # A terminal may be closed, and whoever reads a pipe gone; the recording goes on without them.
    with suppress(OSError):
        click.echo(text, err=True)


def _print_now(text: str) -> None:
    # A script that waits for the line reads it from a pipe, so it must not stay in a buffer.
    click.echo(text)
    sys.stdout.flush()
