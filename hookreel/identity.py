"""``--identity`` for every command that reads captures, and ``hookreel keygen``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from captures.encryption import IDENTITY_VARIABLE, new_identity, read_identities
from captures.errors import WriteError
from captures.keys import create_private_file

_NAME = "identity"
READS_NO_CAPTURE = frozenset({"record", "ca", "keygen", "import", "diff", "baseline", "demo"})
"""Commands that have no use for an identity."""


def with_identity(command: click.Command) -> click.Command:
    """
    ``command`` with the option ``--identity``; adding it twice adds it once.

    It ends in the environment, where the reader of captures and any process that the command
    starts find it, so no command has to hand it on.
    """
    if all(parameter.name != _NAME for parameter in command.params):
        command.params.append(
            click.Option(
                ["--identity", _NAME],
                multiple=True,
                metavar="FILE",
                type=click.Path(path_type=Path, dir_okay=False),
                expose_value=False,
                callback=_use,
                help="age identity or SSH private key that opens encrypted captures; may be repeated "
                f"(default: {IDENTITY_VARIABLE}).",
            )
        )
    return command


def _use(context: click.Context, _parameter: click.Parameter, paths: tuple[Path, ...]) -> None:
    if not paths:
        return
    read_identities(paths)  # a wrong file is told before any work is done
    before = os.environ.get(IDENTITY_VARIABLE)
    os.environ[IDENTITY_VARIABLE] = os.pathsep.join(str(path) for path in paths)

    def restore() -> None:
        if before is None:
            os.environ.pop(IDENTITY_VARIABLE, None)
        else:
            os.environ[IDENTITY_VARIABLE] = before

    context.call_on_close(restore)


@click.command()
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The new identity file (private, mode 0600); never overwritten.",
)
def keygen(output: Path) -> None:
    """
    Make a key pair for encrypted captures, as age-keygen does.

    The public key is printed: record with --encrypt-to and this key. Whoever has the file can
    read what is encrypted to it; without the file nobody can, you included.

    \b
    Example:
      hookreel keygen -o team.key
      hookreel record --mode reverse:http://localhost:3000 -o staging.reel --encrypt-to age1...
      hookreel info staging.reel --identity team.key
    """
    secret, recipient = new_identity()
    try:
        with os.fdopen(create_private_file(output), "w", encoding="ascii") as file:
            file.write(f"# public key: {recipient}\n{secret}\n")
    except OSError as error:
        raise WriteError(f"{output} cannot be written ({error.strerror}); choose another place.") from error
    click.echo(recipient)
