"""``hookreel restore``."""

from __future__ import annotations

from pathlib import Path

import click

from anonymizer.endings import tidied_when_ended
from anonymizer.vault import KEY_PURPOSE, restore_capture
from captures.keys import read_key_file
from captures.reader import CaptureReader
from captures.text import counted

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("capture", metavar="ANONYMIZED", type=_FILE)
@click.option(
    "--vault",
    required=True,
    metavar="FILE",
    type=_FILE,
    help="The vault that `hookreel anonymize` wrote with it.",
)
@click.option("--vault-key", required=True, metavar="FILE", type=_FILE, help="The vault's key file.")
@click.option(
    "-o", "--output", required=True, metavar="FILE", type=_FILE, help="The new capture; never overwritten."
)
@tidied_when_ended()
def restore(capture: Path, vault: Path, vault_key: Path, output: Path) -> None:
    """
    Give back the original of an anonymized capture, with its vault and the vault's key.

    Every exchange, message and header comes back byte for byte. Without the key nothing does.

    \b
    Example:
      hookreel anonymize staging.reel -o safe.reel --vault staging.vault
      hookreel restore safe.reel --vault staging.vault --vault-key staging.vault.key -o again.reel
    """
    key = read_key_file(vault_key, purpose=KEY_PURPOSE)
    with CaptureReader.open(capture) as reader:
        restored = restore_capture(reader, vault, key, output)
    click.echo(
        f"{output}: {counted(restored.exchanges, 'exchange')}, {counted(restored.messages, 'message')}; "
        "they are the originals, so keep it private"
    )
