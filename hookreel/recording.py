"""
``hookreel record`` with what only the front door can put together: ``--anonymize``.

Anonymizing takes two passes, since a value may be recognised late (a token in the hundredth
body) that stood in the first one too. So the originals have to wait somewhere until the recording
ends: they wait in a spool beside the output, sealed with a key that is in this process's memory and
nowhere else. Whatever ends the process, what is on the disk then cannot be read by anybody.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import click

from captures.encryption import Identities, ephemeral_identity, use_identities
from captures.errors import HookreelError, UsageError, WriteError
from captures.keys import new_key, read_key_file, write_key_file
from captures.model import CaptureHeader, Counters
from captures.units import MIB
from captures.writer import CaptureWriter
from recorder import cli as recorder_cli
from recorder.options import use_open_part

# The output is about as large as its spool, and both are there until it is whole.
_ROOM_FACTOR = 1.25
_ROOM_BYTES = 4 * MIB


class AnonymizingWriter(CaptureWriter):
    """
    Writes to a sealed spool, and the anonymized capture when it is closed.

    The recording stops, as on a full disk, while there is room left for that capture.
    """

    output: Path
    made: tuple[Path, ...] = ()
    """Files that were made for this recording, and go with it when it does not begin."""
    identities: Identities
    anonymize: Callable[[Path, Path], None]

    @classmethod
    def begin(cls, output: Path, header: CaptureHeader, *, anonymize: Callable[[Path, Path], None]) -> Self:
        """
        Start a spool for ``output``; ``anonymize`` reads the first path and writes the second.

        Raises:
            UsageError: the output or a spool for it exists, or its folder does not.
            WriteError: the spool cannot be written.

        """
        if output.exists() or output.is_symlink():
            raise UsageError(f"{output} exists already; name another file or remove it first.")
        if not output.parent.is_dir():
            raise UsageError(f"The folder of {output} does not exist; create it first.")
        spool = output.with_name(f".{output.name}.spool")
        if spool.exists():
            raise UsageError(
                f"{spool} is there: {output} is being recorded, or its recorder was killed; "
                "take another name, or remove the spool of a killed one, which nobody can read."
            )
        identities, recipient = ephemeral_identity()
        writer = cls.create(spool, header, recipients=[recipient])
        writer.output = output
        writer.identities = identities
        writer.anonymize = anonymize
        return writer

    @property
    def parts(self) -> tuple[Path, ...]:
        """The file that stays: the output."""
        return (self.output,)

    def flush(self) -> None:
        """
        Write the open block now.

        Raises:
            WriteError: the disk is full, or has room left for the anonymized capture only.

        """
        wanted_bytes = _ROOM_FACTOR * (self.size_bytes + self.open_bytes) + _ROOM_BYTES
        if self.open_bytes and shutil.disk_usage(self.path.parent).free < self.open_bytes + wanted_bytes:
            self._failed = True
            raise WriteError(
                f"The disk has no room left but for the anonymized capture of what was recorded so far; "
                f"free space, or record to another disk than that of {self.output}."
            )
        super().flush()

    def abandon(self) -> None:
        """Remove what was made for a recorder that was killed: nobody but this process can read the spool."""
        super().abandon()
        self._remove()

    def discard(self) -> None:
        """Remove the spool and what was made beside it."""
        super().discard()
        self._remove()

    def _remove(self) -> None:
        for path in (self.path, *self.made):
            path.unlink(missing_ok=True)

    def close(self, counters: Counters | None = None) -> None:
        """
        End the spool, anonymize it into the output and remove it.

        Raises:
            WriteError: the disk is full; what the spool holds was anonymized as far as it could be.
            HookreelError: the output cannot be made; nothing readable is left.

        """
        if self._closed:
            return
        full: WriteError | None = None
        try:
            super().close(counters)
        except WriteError as error:
            full = error
        try:
            with use_identities(self.identities):
                self.anonymize(self.path, self.output)
        except HookreelError as error:
            self.exchanges_flushed = 0  # what the spool had is in no file
            raise HookreelError(
                f"{self.output} could not be made ({error}) The originals were sealed and are gone."
            ) from error
        finally:
            self.path.unlink(missing_ok=True)
        if full is not None:
            raise full


def with_anonymizing(command: click.Command) -> click.Command:
    """``command`` with the options that have its capture anonymized before anything can be read."""
    record = command.callback
    assert record is not None

    @click.pass_context
    def callback(
        context: click.Context, /, *, anonymize: bool, policy_path: Path | None, **values: Any
    ) -> Any:
        if anonymize:
            _anonymize_at_the_end(context, policy_path, values)
        elif policy_path is not None:
            raise click.UsageError("--policy is for --anonymize; add it, or leave --policy out.")
        elif values.get("key_file") is not None and not values.get("withhold_credentials"):
            raise click.UsageError(
                "--key-file is for --withhold-credentials or --anonymize; add one, or leave --key-file out."
            )
        return record(**values)

    options: list[click.Parameter] = [
        click.Option(
            ["--anonymize"],
            is_flag=True,
            help="Write an anonymized capture; no original is ever on the disk in readable form.",
        ),
        click.Option(
            ["--policy", "policy_path"],
            metavar="FILE",
            type=click.Path(path_type=Path, dir_okay=False),
            help="With --anonymize: what to do with each kind, as for hookreel anonymize.",
        ),
    ]
    return click.Command(
        command.name,
        callback=callback,
        params=[*command.params, *options],
        help=command.help,
        short_help=command.short_help,
        epilog=command.epilog,
    )


def _anonymize_at_the_end(context: click.Context, policy_path: Path | None, values: dict[str, Any]) -> None:
    for name in ("rotate_every", "rotate_size", "encrypt_to"):
        if values.get(name):
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"--anonymize writes one open capture at the end; leave {option} out.")
    # The detectors take a while to import, which other recordings should not pay.
    from anonymizer.cli import key_path_of  # noqa: PLC0415
    from anonymizer.policy import Policy, read_policy  # noqa: PLC0415
    from anonymizer.stage import anonymize_capture  # noqa: PLC0415

    policy = read_policy(policy_path) if policy_path is not None else Policy()
    if policy.strict_fields is not None:
        raise click.UsageError(
            "A [strict] policy could refuse a whole recording at its end; take [strict] out of it, or record "
            "with --encrypt-to and anonymize the capture afterwards."
        )
    key_file: Path | None = values.get("key_file")
    key = new_key() if key_file is None else read_key_file(key_file)

    def anonymize(spool: Path, destination: Path) -> None:
        click.echo("Anonymizing; who interrupts this loses the recording.", err=True)
        report = anonymize_capture(spool, destination, policy=policy, key=key).report
        click.echo(
            f"Anonymized: {report.distinct_values} distinct values were replaced by stand-ins.", err=True
        )

    def open_part(output: Path, header: CaptureHeader) -> AnonymizingWriter:
        writer = AnonymizingWriter.begin(output, header, anonymize=anonymize)
        if key_file is None:
            try:
                write_key_file(key_path_of(output), key)
            except HookreelError:
                writer.discard()
                raise
            writer.made = (key_path_of(output),)
            click.echo(f"Note: the key is in {key_path_of(output)}; keep it private.", err=True)
        return writer

    use_open_part(context, open_part)


record = with_anonymizing(recorder_cli.record)
