"""
Options of ``record`` that say what is recorded, how it is kept, and what never reaches the file.

``recording_options`` adds them to a command, which gets them as one ``Choices``; ``open_sink``
makes the sink that follows them. A stage that works on the finished file (anonymizing) comes in
by the click context, as ``open_part``: recording knows nothing of what it does.
"""

from __future__ import annotations

import functools
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count
from pathlib import Path
from typing import Any, TypeAlias

import click

from captures.conditions import parse_condition
from captures.encryption import read_recipients
from captures.errors import UsageError
from captures.keys import Prf, read_key_file
from captures.model import CaptureHeader
from captures.text import counted
from captures.units import KIB, NS_PER_S, parse_duration_ns, parse_size_bytes
from captures.writer import CaptureWriter
from recorder.account import Account
from recorder.privacy import Privacy, check_header_names
from recorder.rotation import Limits, Part, PartedWriter, part_paths
from recorder.sampling import SessionSampler, parse_share
from recorder.scribe import Writer
from recorder.selection import Selection
from recorder.sink import Sink

SMALLEST_FILE_BYTES = 64 * KIB
_SALT_BYTES = 16
_OPEN_PART = f"{__name__}.open_part"

OpenPart: TypeAlias = Callable[[Path, CaptureHeader], Part]
"""Opens the writer of one file; how a stage that works on the finished file comes in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """
    What a recording keeps, as plain values that another process can be given too.

    ``match`` and ``ignore`` are conditions, ``sample`` a share, all as they were written.
    ``sample_key`` chooses the sample, ``withhold_key`` (None: nothing is withheld) makes the
    stand-ins and ``fingerprint_salt`` (None: a fresh one) stands in the header, which keys the
    fingerprints. ``recipients`` are for whom the file is sealed, if for anybody.
    """

    match: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    sample: str | None = None
    sample_key: bytes = field(default=b"", repr=False)
    redact: tuple[str, ...] = ()
    withhold_key: bytes | None = field(default=None, repr=False)
    fingerprint_salt: bytes | None = field(default=None, repr=False)
    recipients: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)

    def selection(self) -> Selection | None:
        """What chooses exchanges; None when all are recorded."""
        if not (self.match or self.ignore or self.sample):
            return None
        return Selection(
            match=tuple(map(parse_condition, self.match)),
            ignore=tuple(map(parse_condition, self.ignore)),
            sampler=SessionSampler(parse_share(self.sample), self.sample_key) if self.sample else None,
        )

    def privacy(self) -> Privacy | None:
        """What cleans exchanges; None when all of them is written."""
        if not self.redact and self.withhold_key is None:
            return None
        return Privacy(redact=self.redact, withhold_key=self.withhold_key)

    def for_workers(self, workers: int, recipient: str) -> Choices:
        """
        What each of several ``workers`` does: its own part is sealed for ``recipient``, the parent.

        So nothing that the parts hold can be read by others before the parent has merged them. Who
        will read the capture can read its parts, too, should the parent be killed.

        Raises:
            UsageError: the parts of several workers cannot be limited in size or rotated.

        """
        if self.limits != Limits() and workers > 1:
            raise UsageError("--workers cannot go with --max-size or --rotate-...; leave one of them out.")
        return replace(self, recipients=(*self.recipients, recipient))


def open_sink(
    choices: Choices,
    output: Path,
    header: CaptureHeader,
    *,
    note: Callable[[str], None],
    open_part: OpenPart | None = None,
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> Sink:
    """
    The sink that records to ``output``, or to its parts; it is not started.

    Every part after the first has ``header`` with an id of its own, and the first part's in its
    lineage: its numbers go on. ``open_part`` opens a file in place of a plain writer.

    """
    paths = part_paths(output) if choices.limits.rotates else iter((output,))
    lineage = (header.capture_id, *header.lineage)
    later = (replace(header, capture_id=secrets.token_hex(16), lineage=lineage) for _ in count())
    headers = chain((header,), later)

    def open_next() -> Part:
        path, own_header = next(paths), next(headers)
        if open_part is not None:
            return open_part(path, own_header)
        return CaptureWriter.create(path, own_header, recipients=choices.recipients, clock_ns=clock_ns)

    def open_writer() -> Writer:
        return PartedWriter(open_next, choices.limits, clock_ns=clock_ns)

    return Sink(
        open_writer,
        note=note,
        chooser=choices.selection(),
        cleaner=choices.privacy(),
    )


def use_open_part(context: click.Context, open_part: OpenPart) -> None:
    """Has the command of ``context`` open its files with ``open_part``."""
    context.meta[_OPEN_PART] = open_part


def open_part_of(context: click.Context) -> OpenPart | None:
    """What opens the files of the command of ``context``; None for a plain writer."""
    found: OpenPart | None = context.meta.get(_OPEN_PART)
    return found


def build_choices(
    *,
    match: Sequence[str] = (),
    ignore: Sequence[str] = (),
    sample: str | None = None,
    max_size: str | None = None,
    rotate_every: str | None = None,
    rotate_size: str | None = None,
    redact_header: Sequence[str] = (),
    withhold_credentials: bool = False,
    key_file: Path | None = None,
    encrypt_to: Sequence[str] = (),
) -> Choices:
    """
    Check what the command line says.

    Raises:
        UsageError: a value is wrong, or the key file is absent.

    """
    for text in (*match, *ignore):
        parse_condition(text)
    if sample is not None:
        parse_share(sample)
    check_header_names(redact_header)
    limits = Limits(
        rotate_every_ns=_at_least(rotate_every, parse_duration_ns, NS_PER_S, "--rotate-every", "1s"),
        rotate_bytes=_at_least(rotate_size, parse_size_bytes, SMALLEST_FILE_BYTES, "--rotate-size", "64KiB"),
        max_bytes=_at_least(max_size, parse_size_bytes, SMALLEST_FILE_BYTES, "--max-size", "64KiB"),
    )
    kept = None if key_file is None else Prf(read_key_file(key_file))
    withhold_key = salt = None
    if withhold_credentials:
        # Of a key that is kept, salt and stand-ins are the same in every recording, so what is
        # called bearer:3f2a9c1b7d20 in one has that name in all, and a credentials file stays valid.
        withhold_key = secrets.token_bytes(32) if kept is None else kept.digest("withhold-key", b"", 32)
        salt = None if kept is None else kept.digest("withhold-salt", b"", _SALT_BYTES)
    return Choices(
        match=tuple(match),
        ignore=tuple(ignore),
        sample=sample,
        sample_key=secrets.token_bytes(32),
        redact=tuple(redact_header),
        withhold_key=withhold_key,
        fingerprint_salt=salt,
        recipients=read_recipients(encrypt_to),
        limits=limits,
    )


def _at_least(
    text: str | None, parse: Callable[[str], int], least: int, option: str, shown: str
) -> int | None:
    if text is None:
        return None
    value = parse(text)
    if value < least:
        raise UsageError(f"{option} {text} is too little; give {shown} or more.")
    return value


_OPTIONS = (
    click.option(
        "--match",
        multiple=True,
        metavar="CONDITION",
        help="Record only what meets this, like 'method=POST path=/api/*', status=5xx, host=*.example.com "
        "or header:X-Env=staging; repeated, one of them is enough.",
    ),
    click.option(
        "--ignore",
        multiple=True,
        metavar="CONDITION",
        help="Do not record what meets this, like path=/health; may be repeated.",
    ),
    click.option(
        "--sample",
        metavar="SHARE",
        help="Record this share of the sessions, each of them whole, like 10% or 1/8.",
    ),
    click.option(
        "--max-size", metavar="SIZE", help="End the recording when the capture has this size, like 2GB."
    ),
    click.option(
        "--rotate-every",
        metavar="TIME",
        help="Begin a new file after this time, like 10m: FILE-0001.reel ...",
    ),
    click.option("--rotate-size", metavar="SIZE", help="Begin a new file at this size, like 500MB."),
    click.option(
        "--redact-header",
        multiple=True,
        metavar="NAME",
        help="Write [redacted] for the values of this header; may be repeated.",
    ),
    click.option(
        "--withhold-credentials",
        is_flag=True,
        help="Write stand-ins for tokens, cookies and API keys; replay --credentials puts real ones back.",
    ),
    click.option(
        "--key-file",
        metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Key of the stand-ins, so that they are the same in every recording.",
    ),
    click.option(
        "--encrypt-to",
        multiple=True,
        metavar="KEY",
        help="Encrypt the capture to this age or SSH public key, or to those in this file; may be repeated.",
    ),
)
_NAMES = (
    *("match", "ignore", "sample", "max_size", "rotate_every", "rotate_size"),
    *("redact_header", "withhold_credentials", "key_file", "encrypt_to"),
)


def recording_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add these options to a click command, which gets them as one ``choices: Choices``."""

    @functools.wraps(command)
    def with_choices(**values: Any) -> Any:
        chosen = {name: values.pop(name) for name in _NAMES}
        return command(choices=build_choices(**chosen), **values)

    decorated: Callable[..., Any] = with_choices
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def withheld_line(account: Account) -> str:
    """What the end of a recording says about withheld credentials."""
    return (
        f"Withheld {counted(account.withheld, 'credential')} in {counted(account.withheld_uses, 'place')}; "
        "hookreel info names them, replay --credentials puts real ones in."
    )
