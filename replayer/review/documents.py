"""Small JSON files of ours: named by kind, with a version and one-step migrations, written whole."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from captures.errors import CaptureError, CaptureVersionError, FileKindError, UsageError

_MOST_BYTES = 64 * 1024 * 1024

Map = dict[str, Any]
Migrations = Mapping[int, Callable[[Map], Map]]
"""``migrations[n]`` turns what version n holds into what version n + 1 holds."""


def read_document(path: Path, *, kind: str, newest: int, migrations: Migrations) -> Map:
    """
    The values of a document, as the newest version has them.

    Raises:
        UsageError: there is no such file.
        FileKindError: it is something else.
        CaptureVersionError: a newer hookreel wrote it.
        CaptureError: it is damaged.

    """
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); name a file that exists.") from None
    try:
        values = json.loads(text) if len(text) <= _MOST_BYTES else None
    except (ValueError, RecursionError):
        raise CaptureError(f"{path} is damaged: it is not JSON; give an undamaged copy.") from None
    if type(values) is not dict or values.get("kind") != kind:
        raise FileKindError(f"{path} is no {kind}; name the right file.")
    version = values.get("format")
    if type(version) is not int or version < 1:
        raise CaptureError(f"{path} is damaged: it names no version; give an undamaged copy.")
    if version > newest:
        raise CaptureVersionError(
            f"{path} was written by a newer hookreel (format {version}); update hookreel."
        )
    try:
        for step in range(version, newest):
            values = migrations[step](values)
    except (LookupError, TypeError, ValueError, AttributeError):
        raise CaptureError(f"{path} is not of the version it names; give an undamaged copy.") from None
    return values


def write_document(path: Path, *, kind: str, format_: int, values: Map) -> None:
    """
    Write ``values`` to ``path`` with mode 0600, in place of what is there; all of it or nothing.

    Raises OSError when it cannot be written.
    """
    text = json.dumps({"kind": kind, "format": format_, **values}, indent=1, allow_nan=False) + "\n"
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
