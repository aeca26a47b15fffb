"""
Endpoint labels: ``METHOD /path/{id}``.

A path segment becomes ``{id}`` by its shape alone (digits, UUID, ULID, long hex) or when more
than ``MAX_DISTINCT`` distinct values stand at its place under the same parent.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

MAX_DISTINCT = 50
MAX_LABELS = 65_000  # bounds a writer's memory; what comes later shares one label
MAX_LABEL_CHARS = 512  # longer labels are cut, and told apart by a hash of the whole
MAX_TOTAL_CHARS = 16 * 1024 * 1024  # of all labels, so that they fit into one INDEX block
OVERFLOW_LABEL = "OTHER /{other}"

_ID_SHAPE = re.compile(
    r"\d+"
    r"|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
    r"|[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}"  # ULID, Crockford's base 32
    r"|(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{16,}"
)


def is_id(text: str) -> bool:
    """Whether ``text`` is an id by its shape alone."""
    return _ID_SHAPE.fullmatch(text) is not None


def shape_label(method: bytes, target: bytes) -> str:
    """The label of one request by shape alone; the query is not part of it."""
    path = target.split(b"?", 1)[0].split(b"#", 1)[0].decode("latin-1")
    segments = ["{id}" if is_id(segment) else segment for segment in path.split("/")]
    return f"{method.decode('latin-1')} {'/'.join(segments)}"


def cut_label(label: str) -> str:
    """``label`` in at most ``MAX_LABEL_CHARS``; a cut one ends with ``~`` and 16 hex digits."""
    if len(label) <= MAX_LABEL_CHARS:
        return label
    digest = hashlib.blake2b(label.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{label[: MAX_LABEL_CHARS - 1 - len(digest)]}~{digest}"


class EndpointTable:
    """
    Numbers labels as they are first seen, in memory bounded by ``MAX_LABELS`` and ``MAX_TOTAL_CHARS``.

    ``add`` gives the number of a request's shape label; ``merge_labels`` tells at the end what
    each number's final label is, once all distinct values at each place are known.
    """

    def __init__(self, labels: Sequence[str] = ()) -> None:
        self.labels: list[str] = list(labels)
        self._number_of_label: dict[str, int] = {label: number for number, label in enumerate(labels)}
        self._chars = sum(map(len, labels))

    def add(self, method: bytes, target: bytes) -> int:
        """The number of the request's shape label, a new one if it has not been seen."""
        return self.number(shape_label(method, target))

    def number(self, label: str) -> int:
        """The number of ``label``, a new one if it has not been seen."""
        known = self._number_of_label.get(label)
        if known is not None:
            return known
        if len(label) > MAX_LABEL_CHARS:
            return self.number(cut_label(label))
        full = len(self.labels) >= MAX_LABELS or self._chars + len(label) > MAX_TOTAL_CHARS
        if full and label != OVERFLOW_LABEL:
            return self.number(OVERFLOW_LABEL)
        number = len(self.labels)
        self._number_of_label[label] = number
        self.labels.append(label)
        self._chars += len(label)
        return number


def merge_labels(labels: Sequence[str]) -> list[str]:
    """
    The final label for each of ``labels``: crowded places become ``{id}``.

    Places are folded from the root on, so children of a folded place are counted together.
    """
    split = [tuple(cut_label(label).split("/")) for label in labels]
    depth_max = max((len(parts) for parts in split), default=0)
    for depth in range(1, depth_max):
        children: dict[tuple[str, ...], set[str]] = {}
        for parts in split:
            if len(parts) > depth and parts[depth] != "{id}":
                children.setdefault(parts[:depth], set()).add(parts[depth])
        crowded = {parent for parent, names in children.items() if len(names) > MAX_DISTINCT}
        if crowded:
            split = [
                (*parts[:depth], "{id}", *parts[depth + 1 :])
                if len(parts) > depth and parts[:depth] in crowded
                else parts
                for parts in split
            ]
    return ["/".join(parts) for parts in split]
