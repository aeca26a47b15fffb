"""``hookreel replay``: send a capture to a target again, on schedule."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
from tabulate import tabulate

from captures.errors import UsageError
from captures.model import SignatureScheme
from captures.reader import CaptureReader
from captures.text import clean, counted
from captures.units import format_duration, parse_duration_ns, parse_share
from replayer.credentials import Keyring, build_keyring
from replayer.host import host_facts
from replayer.keep_options import KEEP_NAMES, keep_of, keep_options
from replayer.live_options import live_options, onlooker_of
from replayer.load_options import identities_in_use, load_of, load_options
from replayer.manners_options import manners_of, manners_options
from replayer.options import ReplayOptions, UseChains
from replayer.replay import Rehearsal, rehearse
from replayer.replay import replay as run_replay
from replayer.results import Limits, write_run
from replayer.services import Service
from replayer.summary import as_json, as_text, summarise
from replayer.targets import parse_targets
from replayer.templates import read_templates, use_templates
from replayer.tls import client_context

_NO = 3
_INVALID_RUN = 4


@click.command(short_help="Send a capture to a target again, with its timing.")
@click.argument("capture", metavar="IN", type=click.Path(path_type=Path))
@click.option(
    "--target",
    required=True,
    multiple=True,
    metavar="[HOST=]URL",
    help="Where to send to; there is no default. HOST=URL, for what was recorded for HOST, repeats.",
)
@load_options
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the run here.")
@click.option("--json", "json_wanted", is_flag=True, help="Print the results as JSON.")
@click.option("--dry-run", is_flag=True, help="List what would go where, and send nothing.")
@click.option(
    "--credentials",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="TOML file, mode 0600: target values for recorded credentials, and signing secrets.",
)
@click.option(
    "--secret",
    multiple=True,
    metavar="SCHEME=VALUE",
    help=f"A signing secret; fit for tests only. Repeats. Schemes: {', '.join(SignatureScheme)}.",
)
@live_options
@click.option(
    "--endpoints",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="TOML file of endpoint templates: which requests are one endpoint, in place of what was learned.",
)
@keep_options
@manners_options
@click.option("--keep-ids", is_flag=True, help="Send delivery, event and idempotency ids as recorded.")
@click.option(
    "--chains",
    type=click.Choice([use.value for use in UseChains]),
    default=UseChains.AUTO.value,
    show_default=True,
    help="Carry on values that the target mints (see hookreel chains); auto: up to 200,000 exchanges.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    metavar="N",
    default=1,
    show_default=True,
    help="Send from so many processes, for loads that one core cannot make.",
)
@click.option(
    "--timeout",
    default="30s",
    metavar="TIME",
    show_default=True,
    help="Give up waiting for a response after this.",
)
@click.option("--allow-host", multiple=True, metavar="HOST", help="Permit this target that is not private.")
@click.option(
    "--resolve", multiple=True, metavar="HOST:PORT:ADDRESS", help="Use this address for a host. Repeats."
)
@click.option(
    "--host-header",
    type=click.Choice(["target", "recorded"]),
    default="target",
    show_default=True,
    help="Whose name the Host header carries.",
)
@click.option(
    "--sni",
    type=click.Choice(["target", "recorded"]),
    default="target",
    show_default=True,
    help="Whose name TLS asks for and verifies.",
)
@click.option("--cacert", type=click.Path(path_type=Path), metavar="FILE", help="Trust these authorities.")
@click.option("--cert", type=click.Path(path_type=Path), metavar="FILE", help="TLS client certificate.")
@click.option("--key", type=click.Path(path_type=Path), metavar="FILE", help="Its key, if in another file.")
@click.option("--insecure", is_flag=True, help="Do not verify the target's certificate.")
@click.option("--lag-p99", metavar="TIME", help="Send lag p99 above which a run is invalid.  [default: 1ms]")
@click.option("--lag-max", metavar="TIME", help="Send lag above which a run is invalid.  [default: 250ms]")
@click.option("--rate-error", metavar="SHARE", help="Rate error in any second likewise.  [default: 5%]")
def replay(
    *,
    capture: Path,
    output: Path | None,
    json_wanted: bool,
    dry_run: bool,
    expect: str | None,
    endpoints: Path | None,
    live: str | None,
    quiet: bool,
    **asked: Any,
) -> None:
    """
    Send the exchanges of the capture IN to a target, when they are due.

    Each exchange is due at its recorded time divided by the speed, whatever the target does;
    response time counts from then on. --copies and --rate are other ways to offer more. A run that
    did not keep the schedule is INVALID (exit 4).

    Signing secrets may also stand in HOOKREEL_SECRET_GITHUB, HOOKREEL_SECRET_STANDARD_WEBHOOKS
    and so on for each scheme.

    \b
    Example:
      hookreel replay safe.reel --target http://localhost:3000 --speed 10x -o candidate.run
      hookreel replay safe.reel --target http://localhost:3000 --keep-bodies sample:1% -o candidate.run
      hookreel replay safe.reel --target http://localhost:3000 --stages 1x:1m,10x:5m --live 8090
    """
    # A rehearsal writes nothing, so it need not be told where to.
    place = capture if dry_run and output is None else output
    keep = keep_of(output=place, **{name: asked.pop(name) for name in KEEP_NAMES})
    options = replace(_options(**asked), keep=keep)
    templates = None if endpoints is None else read_templates(endpoints)
    if output is not None:
        _check_output(output)
    with CaptureReader.open(capture) as reader:
        if templates is not None:
            use_templates(reader, templates)
        if dry_run:
            rehearsal = rehearse(reader, options)
            unused = _unused_secrets(options.keyring, reader.endpoint_labels)
            _print_rehearsal(rehearsal, unused, json_wanted=json_wanted)
            return
        for note in _unused_secrets(options.keyring, reader.endpoint_labels):
            click.echo(f"Note: {note}", err=True)
        replayed = run_replay(reader, options, onlooker_of(live=live, quiet=quiet))
    run = replace(replayed.run, header=replace(replayed.run.header, host=host_facts()))
    summary = summarise(run)
    if json_wanted:
        click.echo(
            json.dumps(as_json(run, summary, replayed.spare_connections, replayed.http_versions), indent=2)
        )
    else:
        click.echo(as_text(run, summary))
    if output is not None:
        write_run(output, run)
    if not run.valid:
        raise click.exceptions.Exit(_INVALID_RUN)
    if expect is not None and summary.status_mismatches:
        raise click.exceptions.Exit(_NO)


def _options(
    *,
    target: Sequence[str],
    credentials: Path | None,
    secret: Sequence[str],
    timeout: str,
    allow_host: Sequence[str],
    resolve: Sequence[str],
    host_header: str,
    sni: str,
    cacert: Path | None,
    cert: Path | None,
    key: Path | None,
    insecure: bool,
    lag_p99: str | None,
    lag_max: str | None,
    rate_error: str | None,
    workers: int,
    chains: str,
    connections: str,
    http1: bool,
    max_in_flight: int | None,
    abort_on: tuple[str, ...],
    mark: bool,
    keep_ids: bool,
    **load: Any,
) -> ReplayOptions:
    """What the command line asks for; every mistake in it is found here."""
    targets = parse_targets(target, allowed_hosts=allow_host, resolve=resolve)
    secure = any(one.tls for one in targets.values())
    if not secure and (cacert or cert or key or insecure):
        raise UsageError("TLS options need an https target; write --target https://... or leave them out.")
    tls = tls_http2 = None
    if secure:
        context = partial(client_context, ca_file=cacert, cert_file=cert, key_file=key, insecure=insecure)
        tls, tls_http2 = context(), context(http2=True)
    services = tuple(
        Service(host=host, target=one, tls=tls if one.tls else None, tls_http2=tls_http2 if one.tls else None)
        for host, one in targets.items()
    )
    return ReplayOptions(
        target=services[0].target,
        load=load_of(**load),
        identities=identities_in_use(),
        tls=services[0].tls,
        tls_http2=services[0].tls_http2,
        services=services if services[0].host else (),
        timeout_ns=_positive_ns(timeout),
        keyring=build_keyring(file=credentials, secrets=secret, environment=os.environ),
        limits=_limits(lag_p99, lag_max, rate_error),
        recorded_host=host_header == "recorded",
        recorded_sni=sni == "recorded",
        workers=workers,
        chains=UseChains(chains),
        manners=manners_of(
            connections=connections, http1=http1, max_in_flight=max_in_flight, abort_on=abort_on
        ),
        mark=secrets.token_hex(16).encode() if mark else b"",
        ids_key=b"" if keep_ids else secrets.token_bytes(32),
    )


def _limits(lag_p99: str | None, lag_max: str | None, rate_error: str | None) -> Limits:
    """
    The gates, with what the options say.

    A named lag p99 is meant as it is said, so it has no share of the service time beside it.
    """
    usual = Limits()
    return Limits(
        lag_p99_ns=parse_duration_ns(lag_p99) if lag_p99 else usual.lag_p99_ns,
        lag_p99_share_of_service_p50=0.0 if lag_p99 else usual.lag_p99_share_of_service_p50,
        lag_max_ns=parse_duration_ns(lag_max) if lag_max else usual.lag_max_ns,
        rate_error=parse_share(rate_error) if rate_error else usual.rate_error,
    )


def _positive_ns(text: str) -> int:
    duration_ns = parse_duration_ns(text)
    if not duration_ns:
        raise UsageError("A timeout of 0 would give every exchange up; write it like 30s.")
    return duration_ns


def _check_output(output: Path) -> None:
    """What would make the run unwritable is found before it is run."""
    if output.exists():
        raise UsageError(f"{output} exists already; name another file or remove it first.")
    if not output.parent.is_dir():
        raise UsageError(f"The folder of {output} does not exist; create it first.")
    if not os.access(output.parent, os.W_OK):
        raise UsageError(f"The folder of {output} cannot be written to; choose another place.")


def _print_rehearsal(rehearsal: Rehearsal, unused: Sequence[str], *, json_wanted: bool) -> None:
    schedule, tally = rehearsal.schedule, rehearsal.tally
    totals = {
        "targets": [
            {
                "host": service.host,
                "url": service.target.url,
                "addresses": list(service.target.addresses),
                "exchanges": count,
            }
            for service, count in rehearsal.services
        ],
        "speed": schedule.load.speed,
        "load": schedule.load.text,
        "exchanges": len(schedule),
        "instances": schedule.instances,
        "connections": rehearsal.connections,
        "sockets": schedule.sockets,
        "messages": rehearsal.messages,
        "duration_ns": schedule.duration_ns,
        "offered_rps": schedule.offered_rps,
        "credentials_mapped": len(tally.mapped),
        "credentials_unmapped": len(tally.unmapped),
        "signed": dict(tally.signed),
        "unsigned": dict(tally.unsigned),
        "endpoints": rehearsal.exchanges,
        "notes": [*rehearsal.notes, *unused],
    }
    if json_wanted:
        click.echo(json.dumps(totals, indent=2))
        return
    what = f"{counted(len(schedule), 'exchange')} on {counted(rehearsal.connections, 'connection')}"
    places = [
        f"{one.target.url} ({', '.join(one.target.addresses)})"
        + (f" for {clean(one.host)} ({counted(count, 'exchange')})" if one.host else "")
        for one, count in rehearsal.services
    ]
    click.echo(
        f"Would send {what} to {', to '.join(places)} in {format_duration(schedule.duration_ns)} "
        f"({schedule.load.text}), "
        f"{schedule.offered_rps:.1f} requests/s. Nothing was sent."
    )
    if schedule.sockets:
        said = counted(rehearsal.messages, "client message")
        click.echo(f"Of these are {counted(schedule.sockets, 'WebSocket session')} with {said}.")
    click.echo(
        f"Credentials: {len(tally.mapped)} mapped, {len(tally.unmapped)} sent as recorded. "
        f"Signatures: {tally.signed.total()} made anew, {tally.unsigned.total()} without a secret.\n"
    )
    lines = [(clean(endpoint), count) for endpoint, count in rehearsal.exchanges.items()]
    click.echo(tabulate(lines, headers=["endpoint", "exchanges"]))
    if rehearsal.notes:
        click.echo("A run would come with these notes:")
    for note in rehearsal.notes:
        click.echo(f"  {clean(note)}")
    for note in unused:
        click.echo(f"Note: {clean(note)}")


def _unused_secrets(keyring: Keyring, labels: Collection[str]) -> list[str]:
    """Signing secrets for endpoints that the capture does not have."""
    return [
        f"The capture has no endpoint {label!r}, so its secret signs nothing; hookreel info lists them."
        for label in sorted(set(keyring.by_endpoint) - set(labels))
    ]
