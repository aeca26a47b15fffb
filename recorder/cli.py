"""The commands ``record`` and ``ca``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from captures.units import parse_duration_ns, parse_size_bytes
from recorder.ca import DEFAULT_CONFDIR, ensure_authority, export_certificate
from recorder.modes import parse_listen, parse_mode
from recorder.sink import Account


@click.command()
@click.option(
    "--mode",
    required=True,
    metavar="MODE",
    help="reverse:URL (clients call the recorder instead of the server at URL) or regular "
    "(clients are told to use the recorder as their HTTP proxy).",
)
@click.option(
    "--listen",
    default="127.0.0.1:8080",
    show_default=True,
    metavar="HOST:PORT",
    help="Where to accept connections; port 0 takes any free one.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The capture to write; an existing file is refused.",
)
@click.option(
    "--confdir",
    default=DEFAULT_CONFDIR,
    show_default=True,
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the recorder's certificate authority is; made when absent.",
)
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
@click.option("--duration", default=None, metavar="TIME", help="Stop after this time, like 90s or 10m.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the ready line and the account as JSON, a line each."
)
def record(
    mode: str,
    listen: str,
    output: Path,
    confdir: Path,
    upstream_ca: Path | None,
    ssl_insecure: bool,
    max_body: str,
    duration: str | None,
    as_json: bool,
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
    from recorder.proxy import RecorderSettings, run_recorder  # noqa: PLC0415

    settings = RecorderSettings(
        mode=parse_mode(mode),
        listen=parse_listen(listen),
        output=output,
        confdir=confdir.expanduser(),
        max_body_bytes=parse_size_bytes(max_body),
        ssl_insecure=ssl_insecure,
        upstream_ca=upstream_ca,
        duration_ns=None if duration is None else parse_duration_ns(duration),
    )

    def ready(url: str) -> None:
        if as_json:
            _print_now(json.dumps({"listening": url, "output": str(output), "mode": settings.mode.spec}))
        else:
            _print_now(f"Recording on {url} to {output} ({settings.mode.spec})")

    account = run_recorder(settings, on_listening=ready, note=lambda text: click.echo(text, err=True))
    _print_now(json.dumps(_account_json(account)) if as_json else _account_text(account))
    if account.cut_by:
        click.echo(f"Error: {account.cut_by}", err=True)
        raise click.exceptions.Exit(1)


@click.command()
@click.option(
    "--confdir",
    default=DEFAULT_CONFDIR,
    show_default=True,
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the recorder's certificate authority is; made when absent.",
)
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
    authority = ensure_authority(confdir.expanduser())
    if export is not None:
        export_certificate(authority, export)
    shown = export or authority.path
    if as_json:
        click.echo(json.dumps({"path": str(shown), "sha256": authority.fingerprint}))
    else:
        click.echo(f"{shown}\nSHA-256 {authority.fingerprint}")


def _account_json(account: Account) -> dict[str, object]:
    return {
        **asdict(account.counters),
        "connections": account.connections,
        "messages": account.messages,
        "messages_dropped": account.messages_dropped,
        "complete": not account.cut_by and not account.counters.dropped and not account.messages_dropped,
    }


def _account_text(account: Account) -> str:
    counters = account.counters
    lines = [
        f"Seen {counters.seen} exchanges on {account.connections} connections:",
        f"  written           {counters.written}",
        f"  sampled out       {counters.sampled_out}",
        f"  dropped           {counters.dropped}",
        f"  in flight at stop {counters.in_flight}",
        f"Of those written, {counters.truncated} have a body that was cut (--max-body).",
    ]
    if account.messages or account.messages_dropped:
        lines.append(f"Stream messages: {account.messages} written, {account.messages_dropped} dropped.")
    return "\n".join(lines)


def _print_now(text: str) -> None:
    # A script that waits for the line reads it from a pipe, so it must not stay in a buffer.
    click.echo(text)
    sys.stdout.flush()
