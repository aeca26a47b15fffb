"""How tuples that hold traffic are shown: by sizes, as no value of it may stand in a log or an error."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any


def by_sizes(of: Any) -> str:
    """The ``__repr__`` of a NamedTuple: bytes and collections by how much they hold."""
    shown = (f"{name}={_shown(value)}" for name, value in zip(of._fields, of, strict=True))
    return f"{type(of).__name__}({', '.join(shown)})"


def _shown(value: Any) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if isinstance(value, Collection) and not isinstance(value, str):
        return f"<{len(value)}>"
    return repr(value)
