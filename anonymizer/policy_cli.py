"""``hookreel policy``: propose a policy, and check one."""

from __future__ import annotations

import os
from pathlib import Path

import click

from anonymizer.endings import tidied_when_ended
from anonymizer.policy import Policy, read_policy
from anonymizer.suggest import suggest as make_proposal
from captures.errors import WriteError
from captures.keys import create_private_file
from captures.reader import CaptureReader
from captures.text import clean, counted

_FILE = click.Path(path_type=Path)


@click.group()
def policy() -> None:
    """
    Propose a policy for anonymizing a capture, or check one.

    \b
    Example:
      hookreel policy suggest staging.reel -o policy.toml
      hookreel policy check policy.toml
      hookreel anonymize staging.reel -o safe.reel --policy policy.toml
    """


@policy.command()
@click.argument("capture", type=_FILE)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=_FILE,
    help="Write the policy to this new file (default: print it).",
)
@tidied_when_ended()
def suggest(capture: Path, output: Path | None) -> None:
    """
    Scan CAPTURE and propose a policy for it.

    The proposal says what was found where, how often and in what shape, never a value, and lists the
    fields with text in which nothing was found.

    \b
    Example:
      hookreel policy suggest staging.reel -o policy.toml
    """
    with CaptureReader.open(capture) as reader:
        proposal = make_proposal(reader)
        problems = reader.problems
    for problem in problems:
        click.echo(f"Note: {capture}: {problem}", err=True)
    if output is None:
        click.echo(proposal.text, nl=False)
        return
    descriptor = create_private_file(output)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(proposal.text)
    except OSError as error:
        output.unlink(missing_ok=True)
        raise WriteError(f"{output} cannot be written ({error.strerror}); choose another place.") from error
    except BaseException:
        output.unlink(missing_ok=True)
        raise
    click.echo(
        f"{output}: {counted(proposal.kinds, 'kind')} found in {counted(proposal.fields, 'field')}, "
        f"{counted(proposal.unknown, 'field')} with unknown text; read it before you use it"
    )


@policy.command()
@click.argument("file", type=_FILE)
def check(file: Path) -> None:
    """
    Check that FILE is a policy, and say in which order its rules win.

    \b
    Example:
      hookreel policy check policy.toml
    """
    read = read_policy(file)
    click.echo(f"{file}: {clean(read.name)}, {_strictness(read)}")
    for rule in read.rules:
        what = "whole fields" if rule.kind is None else rule.kind
        click.echo(f"  {rule.action} {what} at {clean(rule.path)} of {clean(rule.endpoint)}")


def _strictness(read: Policy) -> str:
    if read.strict_fields is None:
        return "not strict"
    return f"strict, lists {counted(len(read.strict_fields), 'field')}"
