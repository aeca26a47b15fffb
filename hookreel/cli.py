"""The front door: one group, commands loaded when they are asked for, errors in one sentence."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from captures.errors import HookreelError
from hookreel import __version__
from hookreel.identity import READS_NO_CAPTURE, with_identity
from hookreel.pipes import until_nobody_reads

# Where each command lives and its first sentence. Loading is lazy, so that ``hookreel info`` or
# ``--help`` does not wait for mitmproxy; a test compares the sentences with the commands' own.
COMMANDS = {
    "record": ("hookreel.recording:record", "Record the traffic that crosses a proxy."),
    "ca": ("recorder.cli:ca", "Show or export the certificate authority that clients must trust."),
    "import": ("hookreel.files_cli:import_", "Make a capture of HAR, mitmproxy, GoReplay or pcap files."),
    "info": ("hookreel.info_cli:info", "Show what a capture holds and what is missing."),
    "cat": ("hookreel.captures_cli:cat", "Print the exchanges of a capture in send order."),
    "verify": ("hookreel.captures_cli:verify", "Check every block and row of a capture."),
    "slice": ("hookreel.files_cli:slice_", "Write a part of a capture as a capture of its own."),
    "merge": ("hookreel.files_cli:merge", "Put captures together, by the wall clock."),
    "export": (
        "hookreel.files_cli:export",
        "Write a capture as HAR, mitmproxy flows, JSON lines or curl commands.",
    ),
    "keygen": ("hookreel.identity:keygen", "Make a key pair for encrypted captures, as age-keygen does."),
    "anonymize": (
        "anonymizer.cli:anonymize",
        "Replace what is sensitive in the capture IN by consistent stand-ins.",
    ),
    "audit": (
        "anonymizer.audit_cli:audit",
        "Search an anonymized capture for everything that was replaced in it.",
    ),
    "restore": (
        "anonymizer.restore_cli:restore",
        "Give back the original of an anonymized capture, with its vault and the vault's key.",
    ),
    "policy": ("anonymizer.policy_cli:policy", "Propose a policy for anonymizing a capture, or check one."),
    "replay": (
        "hookreel.replaying:replay",
        "Send the exchanges of the capture IN to a target, when they are due.",
    ),
    "chains": (
        "replayer.chains_cli:chains",
        "List the values that the target mints in a response and a client sends back later.",
    ),
    "sink": (
        "replayer.sink_cli:sink",
        "Answer what a target calls (Slack, Stripe, mail, any HTTP) from the capture IN of such calls.",
    ),
    "diff": ("replayer.review.cli:diff", "Say what got slower between runs, and how sure that is."),
    "review": ("hookreel.reviewing:review", "Replay two builds in turns and say what changed."),
    "baseline": (
        "replayer.review.baseline_cli:baseline",
        "Save runs by name and compare later ones with them.",
    ),
    "demo": (
        "hookreel.demo.cli:demo",
        "Show the whole story in about a minute: record, anonymize, audit, replay, compare.",
    ),
}

EXIT_FAILURE = 1


class FrontDoor(click.Group):
    """Loads commands lazily and turns errors into one sentence and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Every command, in the order in which they are used."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the command's module and return it."""
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, attribute = place[0].split(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command if cmd_name in READS_NO_CAPTURE else with_identity(command)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002
        formatter: click.HelpFormatter,
    ) -> None:
        """List commands with their first sentence, whole, without loading them."""
        rows = [(name, sentence) for name, (_, sentence) in COMMANDS.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """Parse; --help and --version print and end here."""
        with until_nobody_reads():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a failure ends with its own exit code and without a traceback."""
        try:
            with until_nobody_reads():
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise  # click ends these by itself
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            click.echo(f"Error: {_sentence(error)}", err=True)
            ctx.exit(error.exit_code if isinstance(error, HookreelError) else EXIT_FAILURE)


def _sentence(error: Exception) -> str:
    if isinstance(error, HookreelError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror}; check the file or address and try again."
    # The message of an unexpected error may quote traffic, so only its type is shown.
    kind = type(error).__name__
    return f"hookreel failed unexpectedly ({kind}); run it with --debug and report what it prints."


@click.group(
    cls=FrontDoor,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""hookreel COMMAND --help explains a command, with an example.

    Exit codes: 0 good, 1 it failed, 2 wrong usage, 3 the answer is no (slower, a leak, damage),
    4 a run that proves nothing, 5 inconclusive with --strict.""",
)
@click.version_option(__version__, prog_name="hookreel")
@click.option("--debug", is_flag=True, help="Show tracebacks; they may contain traffic.")
def cli(debug: bool) -> None:  # FrontDoor.invoke reads it
    """
    Record real webhook and API traffic, make it safe, replay it exactly, compare.

    \b
    hookreel record --mode reverse:http://localhost:8080 -o staging.reel
    hookreel anonymize staging.reel -o safe.reel
    hookreel replay safe.reel --target http://localhost:3000 --speed 10x -o candidate.run
    hookreel diff baseline.run candidate.run
    """
