"""``hookreel sink``: stand in for what a target calls."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click
from aiohttp import web
from tabulate import tabulate

from captures.errors import HookreelError, UsageError
from captures.reader import CaptureReader
from captures.text import clean
from replayer.outbound import OutboundAnswers, OutboundCounts

if TYPE_CHECKING:
    from replayer.sink_tls import Authority

_SHOWN = 20
_SHUTDOWN_S = 1.0


@click.command(short_help="Answer a target's outbound calls from a capture.")
@click.argument("capture", metavar="IN", type=click.Path(path_type=Path))
@click.option(
    "--listen", default="127.0.0.1:8081", show_default=True, metavar="HOST:PORT", help="Port 0 takes any."
)
@click.option(
    "--confdir",
    default="~/.hookreel",
    show_default=True,
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Folder with the recorder's CA, for calls over https; see hookreel ca.",
)
@click.option("--no-latency", is_flag=True, help="Answer at once instead of after the recorded time.")
@click.option("--json", "as_json", is_flag=True, help="Print the account as JSON at the end.")
def sink(capture: Path, listen: str, confdir: Path, no_latency: bool, as_json: bool) -> None:
    """
    Answer what a target calls (Slack, Stripe, mail, any HTTP) from the capture IN of such calls.

    Give the target this address as its HTTP and HTTPS proxy, or in place of the service's own. A
    target that trusts the recorder's CA is answered over https, too. An answer takes as long as it
    was recorded. What the recording does not know gets 501 and is counted; nothing is ever sent on.
    Ends with Ctrl-C and prints the account; exits with 3 when a call was not known.

    \b
    Example:
      hookreel record --mode regular --listen 127.0.0.1:8082 -o outbound.reel
      hookreel sink outbound.reel --listen 127.0.0.1:8081
    """
    host, port = _address(listen)
    with CaptureReader.open(capture) as reader:
        answers = OutboundAnswers(reader, with_latency=not no_latency)
        if not len(answers):
            raise UsageError(f"{capture} holds no exchange that could answer a call; record some first.")
        # What makes certificates takes a while to import.
        from replayer.sink_tls import Authority  # noqa: PLC0415

        authority = Authority.in_folder(confdir)
        if authority is None:
            click.echo(
                f"Note: Calls over https through this proxy are refused, as there is no CA in {confdir}; "
                "make one with hookreel ca.",
                err=True,
            )
        asyncio.run(_serve(answers, host, port, authority))
    if as_json:
        click.echo(json.dumps(_account(answers.counts), indent=2))
    else:
        _print_account(answers.counts)
    if answers.counts.unknown:
        raise click.exceptions.Exit(3)


async def _serve(answers: OutboundAnswers, host: str, port: int, authority: Authority | None) -> None:
    from replayer.sink_tls import Front  # noqa: PLC0415

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    server = web.Server(answers.handle, access_log=None)
    try:
        listener = await loop.create_server(
            lambda: Front(server, authority, answers.distrusted), host or None, port
        )
    except OSError as error:
        reason = (error.strerror or "it is no address of this machine").lower()
        raise HookreelError(f"{host} port {port} cannot be listened on ({reason}); give another.") from error
    try:
        bound = listener.sockets[0].getsockname()
        hosts = ", ".join(clean(name) for name in sorted(answers.hosts)[:_SHOWN])
        click.echo(
            f"Answering on http://{f'[{bound[0]}]' if ':' in bound[0] else bound[0]}:{bound[1]} "
            f"from {len(answers)} recorded exchanges with {hosts}.",
            err=True,
        )
        if not _is_loopback(host):
            click.echo(f"Note: Everyone who can reach {host} can read the recorded answers.", err=True)
        await stop.wait()
    finally:
        listener.close()
        await server.shutdown(_SHUTDOWN_S)


def _account(counts: OutboundCounts) -> dict[str, object]:
    return {
        "calls": counts.total,
        "answered_exactly": counts.exact,
        "answered_alike": counts.alike,
        "unknown": counts.unknown.total(),
        "unknown_calls": dict(counts.unknown.most_common()),
    }


def _print_account(counts: OutboundCounts) -> None:
    click.echo(
        f"Calls: {counts.total}; answered as recorded: {counts.exact}, by a like endpoint: {counts.alike}, "
        f"not known: {counts.unknown.total()}."
    )
    if counts.unknown:
        rows = [(clean(name), count) for name, count in counts.unknown.most_common(_SHOWN)]
        click.echo(tabulate(rows, headers=["not known", "calls"]))


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not port.isdigit() or int(port) > 65_535 or (not colon and host != "127.0.0.1"):
        raise UsageError(f"{text!r} is no address to listen on; write 127.0.0.1:8081.")
    return host, int(port)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
