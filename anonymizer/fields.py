"""
One field at a time: what the policy's rules make of the edits that were found for it.

The scrubber finds values wherever they stand, by kind. What a rule says of a place is put into
effect after that, where the place is known. A pass without rules and without a watcher needs
none of this.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from anonymizer.detectors.base import Kind
from anonymizer.policy import Action, Policy, Rule
from anonymizer.pseudonyms import PseudonymTable, with_digits
from captures.bodies import json
from captures.bodies.edits import Edit, splice
from captures.bodies.json import JsonLeaf, LeafRole
from captures.endpoints import shape_label

FIELD = "field"
"""The label of an edit that a rule about a whole field asks for."""

_MAX_LITERAL_BYTES = 256  # of a field that is replaced whole and then looked for elsewhere
_MIN_NUMBER_DIGITS = 6
_MAX_PLACES = 65_536
_PLAIN_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")


class Watcher(Protocol):
    """Told of every field as it is replaced, changed or not, but for numbers and whole fields that stay."""

    def seen(self, endpoint: str, path: str, text: bytes, edits: list[Edit]) -> None:
        """The field ``path`` held ``text``, in which ``edits`` are made."""


class Fields:
    """
    The rules of ``policy`` at the exchange at hand.

    While collecting, what rules replace as a whole goes into ``table``, so that it is found
    elsewhere too; edits are then of no use.
    """

    def __init__(
        self, policy: Policy, table: PseudonymTable, *, collecting: bool, watcher: Watcher | None = None
    ) -> None:
        self._policy = policy
        self._table = table
        self._collecting = collecting
        self._watcher = watcher
        self._endpoint = ""
        self._path = b""
        self._shown = ""
        self._counting = False
        # kinds that are kept, and found all the same for a rule that replaces them somewhere
        self._restores = any(policy.action(kind) is not policy.usual(kind) for kind in Kind)
        self._places: dict[tuple[str, str], tuple[Rule, ...]] = {}
        self._streams: dict[int, tuple[str, str]] = {}

    def enter(self, method: bytes, target: bytes) -> None:
        """Begin with an exchange; ``target`` is the original one."""
        self._endpoint = shape_label(method, target)
        self._path = target
        self._shown = ""
        self._counting = False

    def show(self, method: bytes) -> None:
        """From now on watchers hear of fields, of ``method`` as it came out and the path without values."""
        self._shown = shape_label(method, self._path)
        self._counting = True

    def keep_stream(self, seq: int) -> None:
        """Remember the exchange at hand, which has messages."""
        self._streams[seq] = self._endpoint, self._shown

    def enter_stream(self, seq: int) -> None:
        """Begin with a message of the exchange ``seq``."""
        self._endpoint, self._shown = self._streams.get(seq, ("", ""))
        self._counting = True

    def field(
        self,
        path: str,
        text: bytes,
        edits: list[Edit],
        *,
        number: bool = False,
        whole: bool = True,
        known: bool = False,
        plain: bytes | None = None,
    ) -> list[Edit]:
        """
        The edits of the field ``path``, which holds ``text``, as the rules have them.

        ``whole`` says whether rules about whole fields apply: a request's path has to stay one.
        ``known`` says that ``text`` is no text that anybody has to look at. ``plain`` is ``text``
        without its escapes, where it has some.
        """
        rules = self._rules_at(path)
        if rules or self._restores:
            value = text if plain is None else plain
            if not self._collecting:
                edits = self._ruled(rules, text, value, edits, number=number, whole=whole)
            elif whole and any(rule.kind is None and rule.action is not Action.KEEP for rule in rules):
                self._collect(value, number=number)
        if path == "request.path":  # watchers hear of an endpoint by its label with * for each value
            self._path = splice(text, [edit._replace(new=b"*") for edit in edits])
        if self._watcher is not None and self._counting and not self._collecting:
            decided = known or any(rule.kind is None for rule in rules) or (number and not edits)
            if edits or not decided:
                self._watcher.seen(self._shown, path, text, edits)
        return edits

    def json(
        self,
        data: bytes,
        edits: list[Edit],
        path_of: Callable[[JsonLeaf], str],
        told: Callable[[str, list[Edit]], None],
    ) -> list[Edit]:
        """``edits`` of a JSON text, leaf by leaf; ``told`` hears of those that change."""
        ordered = sorted(edits, key=lambda edit: edit.start)
        placed: list[Edit] = []
        at = 0
        for leaf in json.scan(data):
            found: list[Edit] = []
            while at < len(ordered) and ordered[at].start < leaf.stop:
                found.append(ordered[at].moved(-leaf.start))
                at += 1
            path = path_of(leaf)
            if leaf.role is not LeafRole.KEY and leaf.stop > leaf.start and not self._policy.keeps(path):
                found = self._leaf(path, data[leaf.start : leaf.stop], found, leaf.role)
            if found:
                told(path, found)
                placed += [edit.moved(leaf.start) for edit in found]
        return placed

    def _leaf(self, path: str, raw: bytes, edits: list[Edit], role: LeafRole) -> list[Edit]:
        if role is not LeafRole.STRING or b"\\" not in raw:
            return self.field(path, raw, edits, number=role is LeafRole.NUMBER)
        placed = self.field(path, raw, edits, plain=json.unescape(raw).text)
        return [
            edit._replace(new=json.escape(edit.new, ascii_only=b"\\u" in raw))
            if edit.label == FIELD
            else edit
            for edit in placed
        ]

    def _rules_at(self, path: str) -> tuple[Rule, ...]:
        if not self._policy.rules:
            return ()
        place = self._endpoint, path
        known = self._places.get(place)
        if known is None:
            if len(self._places) >= _MAX_PLACES:
                self._places.clear()
            known = self._places[place] = self._policy.rules_at(*place)
        return known

    def _collect(self, text: bytes, *, number: bool) -> None:
        if number and not (text.isdigit() and len(text) >= _MIN_NUMBER_DIGITS):
            return  # a small number means something else elsewhere
        if text.strip() and len(text) <= _MAX_LITERAL_BYTES:
            self._table.add(_kind_of_whole(text), text)

    def _ruled(
        self,
        rules: tuple[Rule, ...],
        text: bytes,
        plain: bytes,
        edits: list[Edit],
        *,
        number: bool,
        whole: bool,
    ) -> list[Edit]:
        for rule in rules:
            if rule.kind is None and (whole or rule.action is Action.KEEP):
                new = self._whole(rule.action, plain, number=number)
                return [] if new is None else [Edit(0, len(text), new, FIELD)]
            if any(edit.label == rule.kind and _is_all(edit, text) for edit in edits):
                break  # of a value that is all of the field its kind's rule is the more specific one
        placed = (self._by_kind(rules, text, edit, number=number) for edit in edits)
        return [edit for edit in placed if edit is not None]

    def _whole(self, action: Action, text: bytes, *, number: bool) -> bytes | None:
        if action is Action.KEEP or not text:
            return None
        if number and not text.isdigit() and action is not Action.DROP:
            return self._other_number(text)
        return self._table.treated(action, _kind_of_whole(text), text, number=number)

    def _other_number(self, text: bytes) -> bytes:
        if not _PLAIN_NUMBER.fullmatch(text):
            return b"0"
        digits = bytes(byte for byte in text if byte in b"0123456789")
        new = self._table.treated(Action.PSEUDONYMISE, Kind.TOKEN, digits, number=True)
        whole_part = re.sub(rb"^(-?)0+(?=\d)", rb"\g<1>1", with_digits(text, new))
        return whole_part if _PLAIN_NUMBER.fullmatch(whole_part) else b"0"

    def _by_kind(self, rules: tuple[Rule, ...], text: bytes, edit: Edit, *, number: bool) -> Edit | None:
        if edit.label not in _KINDS:
            return edit
        kind = Kind(edit.label)
        rule = next((rule for rule in rules if rule.kind is kind), None)
        action = self._policy.usual(kind) if rule is None else rule.action
        if action is self._policy.action(kind):
            return edit
        raw = text[edit.start : edit.stop]
        plain = self._table.replacement(kind, raw, number=number) == edit.new
        if action is Action.KEEP:
            return None if plain else edit  # in what is encoded there may be values of other kinds
        if action is Action.PSEUDONYMISE and not plain:
            return edit
        return edit._replace(new=self._table.treated(action, kind, raw, number=number))


_KINDS = frozenset(Kind)


def _is_all(edit: Edit, text: bytes) -> bool:
    return text[edit.start : edit.stop].strip() == text.strip()


def _kind_of_whole(text: bytes) -> Kind:
    """The kind whose stand-ins change every letter of ``text``: those of tokens change ASCII alone."""
    return Kind.TOKEN if text.isascii() else Kind.USERNAME
