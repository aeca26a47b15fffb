"""The command ``demo``."""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click
from rich.console import Console

from hookreel.demo.folder import MARKER, DemoFolder, prepare_folder
from hookreel.demo.narrator import Narrator
from hookreel.demo.processes import Children, hookreel_command, module_command, shown_command
from hookreel.demo.story import STEPS, Judgement, Scene, tell
from hookreel.demo.target import SLOWER_ENDPOINT


@click.command()
@click.option(
    "--folder",
    default="demo-files",
    show_default=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where the files go; a folder with anything but an earlier demo's files is refused.",
)
def demo(folder: Path) -> None:
    """
    Show the whole story in about a minute: record, anonymize, audit, replay, compare.

    A small webhook engine is started on this machine, real signed webhooks and API calls are
    recorded through the proxy, and the anonymized capture is replayed against two of its
    releases. One is slower on one endpoint; exit 0 says that this endpoint, and no other, came
    out SLOWER. Every command that runs is shown. Nothing leaves this machine.

    \b
    Example:
      hookreel demo --folder demo-files
    """
    started_s = time.monotonic()
    prepared = prepare_folder(folder)
    with (
        _ended_by_signals(),
        tempfile.TemporaryDirectory(prefix="hookreel-demo-", ignore_cleanup_errors=True) as scratch,
        Children(Path(scratch)) as children,
    ):
        narrator = Narrator(Console(stderr=True), STEPS)
        scene = Scene(folder=prepared, scratch=Path(scratch), children=children, narrator=narrator)
        judgement = tell(scene)
    click.echo(prepared.diff("txt").read_text("utf-8").rstrip())
    click.echo(_closing(prepared, time.monotonic() - started_s))
    if not judgement.as_planted:
        click.echo(f"Error: {_missed(judgement)}", err=True)
        raise click.exceptions.Exit(1)


def _missed(judgement: Judgement) -> str:
    found = ", ".join(judgement.slower) or "no endpoint"
    return (
        f"{SLOWER_ENDPOINT} alone should have come out SLOWER and {found} did ({judgement.verdict}); "
        "run the demo again on a quieter machine."
    )


def _closing(folder: DemoFolder, took_s: float) -> str:
    target = module_command("hookreel.demo.target", "--tenants", str(folder.replay_tenants))
    url = "http://127.0.0.1:3000"
    replay = hookreel_command(
        *("replay", str(folder.safe), "--target", url, "--speed", "10x"),
        *("--credentials", str(folder.credentials), "-o", "another.run"),
    )
    return "\n".join(
        [
            "",
            f"That took {took_s:.0f} s. Everything is in {folder.path} ({MARKER} tells more). Open next:",
            f"  {folder.diff('md')}: the comparison as a comment for a pull request",
            f"  {shown_command(hookreel_command('info', str(folder.safe)))}",
            f"  {shown_command(hookreel_command('cat', str(folder.safe)))}",
            "Or replay once more by hand:",
            f"  {shown_command((*target, '--port', '3000', '--release', 'B'))} &",
            f"  {shown_command(replay)}",
        ]
    )


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP unwind like Ctrl-C does, so that no process is left behind."""

    def end(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
