"""The options of ``hookreel replay`` that say which responses the run keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from captures.errors import UsageError
from captures.units import parse_size_bytes
from replayer.keeping import Cleaner, Keep, parse_keep

MakeCleaner = Callable[[Path | None, Path | None], Cleaner]
"""Makes what anonymizes kept responses, of a key file and a policy file; without a key of a fresh one."""
_META_KEY = "replayer.make_cleaner"
_FILE = click.Path(path_type=Path)

_OPTIONS = (
    click.option(
        "--keep-bodies",
        default="none",
        metavar="WHICH",
        show_default=True,
        help="Keep responses in the run, anonymized: all, mismatches (another status than recorded), "
        "sample:1% or mismatches,sample:1%.",
    ),
    click.option(
        "--keep-budget",
        metavar="SIZE",
        default="64MiB",
        show_default=True,
        help="Keep no more than this, as they come; what finds no room is counted.",
    ),
    click.option(
        "--key-file",
        type=_FILE,
        metavar="FILE",
        help="Key of hookreel anonymize for what is kept: runs to be compared need the same one.",
    ),
    click.option(
        "--keep-policy",
        type=_FILE,
        metavar="FILE",
        help="Policy of hookreel anonymize for what is kept.",
    ),
)
KEEP_NAMES = ("keep_bodies", "keep_budget", "key_file", "keep_policy")
"""What their values are called."""


def keep_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``command`` with these options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def use_cleaner(context: click.Context, make: MakeCleaner) -> None:
    """Let the command that runs in ``context`` anonymize what it keeps with what ``make`` makes."""
    context.meta[_META_KEY] = make


def keep_of(
    *,
    keep_bodies: str,
    keep_budget: str,
    key_file: Path | None,
    keep_policy: Path | None,
    output: Path | None,
) -> Keep | None:
    """
    What these options ask for, None when nothing is to be kept.

    Raises:
        UsageError: a value cannot be read, there is no run to keep responses in, or a file is no key
            or no policy.

    """

    def clean() -> Cleaner:
        make: MakeCleaner | None = click.get_current_context().meta.get(_META_KEY)
        if make is None:
            raise UsageError("Nothing here can anonymize what is kept; run it as hookreel replay.")
        return make(key_file, keep_policy)

    keep = parse_keep(keep_bodies, clean=clean, budget_bytes=parse_size_bytes(keep_budget))
    if keep is None and (key_file or keep_policy):
        raise UsageError("--key-file and --keep-policy are for --keep-bodies; add it, or leave them out.")
    if keep is not None and output is None:
        raise UsageError("--keep-bodies keeps responses in the run; name its file with -o FILE.")
    return keep
