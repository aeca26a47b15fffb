"""What JSON documents look like without their values; both passes over a capture share it."""

from __future__ import annotations

from anonymizer.detectors.names import marks_a_person
from anonymizer.document import LeafContext
from captures.bodies import json
from captures.bodies.json import JsonLeaf, LeafRole

Layout = list[tuple[tuple[LeafContext, ...], list[JsonLeaf]]]
"""The leaves of each piece of a document, and what is around them."""


class Layouts:
    """
    The layouts that were met, by the outlines of their pieces.

    ``outlines`` has the outline of each piece that is remembered, ``leaves`` says how many leaves one has.
    """

    __slots__ = ("_known", "leaves", "outlines")

    def __init__(self) -> None:
        self.outlines: dict[bytes, bytes] = {}
        self.leaves: dict[bytes, int] = {}
        self._known: dict[tuple[bytes, ...], Layout] = {}

    def of(self, outlines: tuple[bytes, ...]) -> Layout:
        """The layout of a document whose pieces have these ``outlines``."""
        known = self._known.get(outlines)
        if known is None:
            known = self._known[outlines] = self._made(outlines)
        return known

    def forget(self) -> None:
        """Forget the layouts of documents."""
        self._known.clear()

    def _made(self, outlines: tuple[bytes, ...]) -> Layout:
        leaves = json.scan(b",".join(outlines))
        people = {leaf.holder for leaf in leaves if leaf.role is LeafRole.KEY and marks_a_person(leaf.key)}
        layout: Layout = []
        position = 0
        for outline in outlines:
            own = leaves[position : position + self.leaves[outline]]
            position += len(own)
            contexts = tuple(
                (leaf.key, leaf.path[-1] if leaf.path else b"", leaf.holder in people) for leaf in own
            )
            layout.append((contexts, own))
        return layout
