"""One text or JSON document at a time: what in it is replaced, as edits at byte offsets."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise

from anonymizer import domains, jwt_tokens
from anonymizer.detectors import prose
from anonymizer.detectors.base import Context, Finding, Kind, normal_key
from anonymizer.detectors.names import marks_a_person
from anonymizer.detectors.registry import Detectors
from anonymizer.document import Told, passes
from anonymizer.generators import account_of
from anonymizer.layers import UNDECODABLE, layers
from anonymizer.layouts import Layouts, LeafContext
from anonymizer.literals import Literals
from anonymizer.pieces import Pieces
from anonymizer.policy import Action, Policy, Undecodable
from anonymizer.pseudonyms import PseudonymTable, fold
from anonymizer.reserved import is_common, is_no_name, is_reserved
from anonymizer.sieve import Sieve, Sorted
from captures.bodies import json
from captures.bodies.edits import Edit, without_overlaps
from captures.bodies.json import JsonLeaf, LeafRole
from captures.keys import Prf

MAX_DEPTH = 6  # encodings inside encodings; deeper ones are no text that anybody reads
_CACHE_ENTRIES = 32_768
_CACHE_TEXT_BYTES = 1_024
_FOUND: list[Edit] = []  # no edits of a text, in which something was found while collecting
_PLAIN_KEY = re.compile(rb"[A-Za-z_][A-Za-z0-9_-]*")
_NAME_IN_EMAIL = re.compile(rb"([A-Za-z]{2,20})[._-]([A-Za-z]{2,20})(?:[._-]([A-Za-z]{2,20}))?\d{0,6}@")
_SEPARATOR = re.compile(rb"[._-]")
_JSON_NUMBER = re.compile(rb"-?(?:0|[1-9]\d*)(?:\.\d+)?")
_LONG_NAME_BYTES = 8
_NEEDS_ESCAPE = re.compile(rb'["\\\x00-\x1f]')

_Where = tuple[bytes, bytes, bytes, bool, LeafRole, int]
"""A leaf's text, key, parent, whether it is of a person, and the depth of its document."""

LeafTold = Callable[[JsonLeaf, list[Edit]], None]
"""Told of a leaf that changes."""

LeafKept = Callable[[JsonLeaf], bool]
"""Whether a leaf is left as it is."""


class Scrubber:
    """
    Finds what is sensitive in a text, and everything that was found before.

    Without ``literals`` it collects: findings go into the table and there are no edits. With
    them it replaces.
    """

    def __init__(
        self,
        prf: Prf,
        policy: Policy,
        table: PseudonymTable,
        literals: Literals | None = None,
        layouts: Layouts | None = None,
    ) -> None:
        self._prf = prf
        self._policy = policy
        self._table = table
        self._literals = literals
        kept = frozenset(kind for kind in Kind if policy.action(kind) is Action.KEEP)
        self._detectors = Detectors(policy.name_keys, kept, prose=prose.load() if policy.prose else None)
        # what documents are not compared in, and prose would look at every text
        self._quick = {Kind.DATE, Kind.UUID} <= kept and not policy.prose
        self._cache: dict[tuple[bytes, Context, int], list[Edit]] = {}
        self._jwts: dict[bytes, bytes] = {}
        self._keys: dict[tuple[bytes, int], list[Edit]] = {}
        self._leaves: dict[_Where, list[Edit]] = {}
        self._sieve = Sieve(literals)
        self.layouts = layouts or Layouts()
        """What documents look like, for the scrubber that comes after this one."""
        self._pieces = Pieces(self, literals, self.layouts)
        self.finds = 0
        """So many values were found while collecting; the same one may count several times."""
        if literals is not None:
            table.rebuild_jwt = self._rebuild_jwt

    @property
    def collecting(self) -> bool:
        """Whether this only fills the table."""
        return self._literals is None

    def text(
        self, text: bytes, context: Context, depth: int = 0, *, valued: bool = True, layered: bool = True
    ) -> list[Edit]:
        """
        The edits of ``text`` (UTF-8), in order and without overlaps.

        ``valued`` and ``layered`` say whether something may be found by its shape, or inside a text in it.
        """
        if len(text) > _CACHE_TEXT_BYTES:
            return self._text(text, context, depth, valued=valued, layered=layered)
        known = self._cache.get((text, context, depth))
        if known is None:
            finds = self.finds
            known = self._text(text, context, depth, valued=valued, layered=layered)
            if self.finds != finds:
                known = _FOUND
            if len(self._cache) >= _CACHE_ENTRIES:
                self._cache.clear()
            self._cache[text, context, depth] = known
        elif known is _FOUND:
            self.finds += 1
        return known

    def _text(self, text: bytes, context: Context, depth: int, *, valued: bool, layered: bool) -> list[Edit]:
        if not text:  # what an escape of no width leaves has no place that could be replaced
            return []
        findings = [
            finding
            for finding in self._detectors.find(text, context, hinted=valued)
            if self._policy.action(finding.kind) is not Action.KEEP
        ]
        inner = layered and not context.number and not passes(text)
        if self._literals is None:
            self._collect(text, findings, depth)
            if inner and depth < MAX_DEPTH:
                self._collect_inner(text, context, depth + 1)
            return []
        edits = [
            Edit(start, stop, self._table.replacement(kind, text[start:stop], number=context.number), kind)
            for kind, start, stop in findings
        ]
        edits += self._literals.edits(text, number=context.number)
        if inner:
            edits += (
                self._inner(text, context, depth + 1) if depth < MAX_DEPTH else self._too_deep(text, context)
            )
        if len(edits) > 1:
            edits = without_overlaps(edits)
        if context.number and edits:
            whole = edits[0]
            return (
                edits if whole.stop - whole.start == len(text) and _JSON_NUMBER.fullmatch(whole.new) else []
            )
        return edits

    def _inner(self, text: bytes, context: Context, depth: int) -> list[Edit]:
        edits: list[Edit] = []
        if json.looks_like_json(text) and b'"' in text:
            edits += self.json(text, depth)
        for layer in layers(text, context, self._blank):
            edits += layer.back(self.text(layer.text, layer.context, depth))
        return edits

    def _too_deep(self, text: bytes, context: Context) -> list[Edit]:
        """Edits that take away every text inside ``text``, which is so deep that none is looked at."""
        edits = [self._taken_away(text)] if json.looks_like_json(text) and b'"' in text else []
        for layer in layers(text, context, self._blank):
            if layer.text not in text:  # what stands there as it is was looked at with the rest
                edits += layer.back([self._taken_away(layer.text)])
        return edits

    def _taken_away(self, text: bytes) -> Edit:
        dropped = self._policy.undecodable is Undecodable.DROP
        return Edit(0, len(text), b"" if dropped else b"x" * len(text), UNDECODABLE)

    def _collect_inner(self, text: bytes, context: Context, depth: int) -> None:
        if json.looks_like_json(text) and b'"' in text:
            self.json(text, depth)
        for layer in layers(text, context, self._blank):
            self.text(layer.text, layer.context, depth)

    def _blank(self, data: bytes) -> bytes:
        return b"" if self._policy.undecodable is Undecodable.DROP else bytes(len(data))

    def _collect(self, text: bytes, findings: Sequence[Finding], depth: int) -> None:
        self.finds += len(findings)
        words: list[Finding] = []
        for finding in findings:
            value = text[finding.start : finding.stop]
            self._table.add(finding.kind, value)
            if finding.kind is Kind.JWT and depth < MAX_DEPTH:
                for part in jwt_tokens.parts(value) or ():
                    self.json(part, depth + 1)
            if finding.kind is Kind.EMAIL:
                self._collect_account(value)
                self._collect_domain(value)
                self._collect_email_name(value)
            if finding.kind is Kind.NAME:
                words.append(finding)
        if len(words) > 1 and all(b.start - a.stop <= 2 for a, b in pairwise(words)):
            whole = text[words[0].start : words[-1].stop]
            self._table.add_phrase(tuple(text[word.start : word.stop] for word in words), whole)
            self._collect_hyphenated(text, words)

    def _collect_hyphenated(self, text: bytes, words: Sequence[Finding]) -> None:
        """Take the parts of a name that are several words themselves: Jean-Luc of Jean-Luc Picard."""
        run = [words[0]]
        pairs: list[tuple[Finding, Finding | None]] = [*pairwise(words), (words[-1], None)]
        for before, word in pairs:
            if word is not None and text[before.stop : word.start] == b"-":
                run.append(word)
                continue
            if 1 < len(run) < len(words):
                self._table.add_phrase(tuple(text[part.start : part.stop] for part in run))
            run = [word] if word is not None else []

    def _collect_account(self, address: bytes) -> None:
        """Take the number of the account that an address begins with, so that it changes alike."""
        account = account_of(address)[:-1]
        if account and self._policy.action(Kind.ID) is not Action.KEEP:
            self._table.add(Kind.ID, account)

    def _collect_domain(self, address: bytes) -> None:
        """Take the domain of an address, so that host names and cookies of its owner change with it."""
        domain = fold(address.rpartition(b"@")[2])
        if domains.is_own(domain):
            self._table.add(Kind.DOMAIN, domain)
            self._table.add(Kind.DOMAIN, domains.registrable(domain))

    def _collect_email_name(self, address: bytes) -> None:
        """Take the name that an address tells, so that it is found where it is written out."""
        local = address[len(account_of(address)) :].rpartition(b"@")[0].rpartition(b"+")[2]
        words = [piece for piece in _SEPARATOR.split(local) if piece]
        if len(local) >= 5 and not all(is_common(piece) or piece.isdigit() for piece in words):
            self._table.add(Kind.USERNAME, local)  # with a policy that keeps user names it has no effect
            for word in words:
                if len(word) >= 8 and not word.isalpha() and not word.isdigit():
                    self._table.add(Kind.USERNAME, word)  # doe1984 of jane.doe1984
        match = _NAME_IN_EMAIL.match(address, len(account_of(address)))
        if match is None or self._policy.action(Kind.NAME) is Action.KEEP:
            return
        pieces = tuple(piece for piece in match.groups() if piece)
        if not any(is_reserved(piece) or is_no_name(piece) for piece in pieces):
            for piece in pieces:
                self._table.add(Kind.NAME, piece)
            self._table.add_phrase(pieces)

    def document(self, data: bytes) -> tuple[bytes, Told | None] | None:
        """
        ``data`` scrubbed as `json` would, and what was replaced where.

        None when it is not quite JSON, or when a policy replaces UUIDs or times.
        """
        return self._pieces.scrub(data) if self._quick else None

    def tells(self, context: LeafContext) -> bool:
        """Whether a value may be found in a JSON leaf for its place alone."""
        return self._detectors.tells(_context(context))

    def leaf(
        self,
        role: LeafRole,
        raw: bytes,
        key: bytes,
        parent: bytes,
        *,
        person: bool,
        valued: bool = True,
        layered: bool = True,
    ) -> list[Edit]:
        """The edits of one key, string or number of a JSON document; see `text`."""
        if role is LeafRole.KEY:
            return self._key(raw, 0)
        around = _context((key, parent, person), number=role is LeafRole.NUMBER)
        if b"\\" in raw or role is LeafRole.NUMBER:
            return self._string(raw, around, 0) if role is LeafRole.STRING else self.text(raw, around, 0)
        return _escaped(self.text(raw, around, 0, valued=valued, layered=layered))

    def sort(self, texts: Sequence[bytes]) -> Sorted:
        """What to look at in ``texts``, the strings of a JSON document."""
        found = self._sieve.sort(texts)
        for edits in found.edits.values():
            edits[:] = _escaped(edits)
        return found

    def json(
        self, data: bytes, depth: int = 0, told: LeafTold | None = None, kept: LeafKept | None = None
    ) -> list[Edit]:
        """
        The edits of the JSON text ``data``: strings, keys, and numbers under telling keys.

        ``kept`` is asked before a leaf is looked at, ``told`` hears of those that change.
        """
        leaves = json.scan(data)
        people = {leaf.holder for leaf in leaves if leaf.role is LeafRole.KEY and marks_a_person(leaf.key)}
        edits: list[Edit] = []
        known_leaves = self._leaves
        for leaf in leaves:
            role, start, stop, key, path, holder = leaf
            if stop == start or (kept is not None and kept(leaf)):
                continue
            raw = data[start:stop]
            if role is LeafRole.KEY:
                found = self._keys.get((raw, depth))
                if found is None:
                    found = self._key(raw, depth)
            else:
                # everything that the edits of a leaf depend on
                where = (raw, key, path[-1] if path else b"", holder in people, role, depth)
                found = known_leaves.get(where)
                if found is None:
                    found = self._leaf(where)
            if found:
                edits += [edit.moved(start) for edit in found]
                if told is not None:
                    told(leaf, found)
        return edits

    def _leaf(self, where: _Where) -> list[Edit]:
        raw, key, parent, person, role, depth = where
        number = role is LeafRole.NUMBER
        context = _context((key, parent, person), number=number)
        string = role is LeafRole.STRING
        found = self._string(raw, context, depth) if string else self.text(raw, context, depth)
        if len(raw) <= _CACHE_TEXT_BYTES:
            if len(self._leaves) >= _CACHE_ENTRIES:
                self._leaves.clear()
            self._leaves[where] = found
        return found

    def _string(self, raw: bytes, context: Context, depth: int) -> list[Edit]:
        if b"\\" in raw:
            unescaped = json.unescape(raw)
            return unescaped.raw_edits(self.text(unescaped.text, context, depth), _json_escape)
        return _escaped(self.text(raw, context, depth))

    def _key(self, raw: bytes, depth: int) -> list[Edit]:
        known = self._keys.get((raw, depth))
        if known is None:
            known = self._string(raw, Context(), depth)
            if known and _PLAIN_KEY.fullmatch(raw) and (known[0].start, known[0].stop) != (0, len(raw)):
                known = [edit for edit in known if _tells(edit, raw)]
            if len(self._keys) < _CACHE_ENTRIES:
                self._keys[raw, depth] = known
        return known

    def _rebuild_jwt(self, raw: bytes) -> bytes:
        known = self._jwts.get(raw)
        if known is None:
            known = self._jwts[raw] = jwt_tokens.rebuild(self._prf, raw, lambda text: self.json(text, 1))
        return known


def _tells(edit: Edit, name: bytes) -> bool:
    """Whether what ``edit`` replaces in a field's own ``name`` is a value: in login_count, none is."""
    if edit.label in {Kind.DOMAIN, Kind.ADDRESS}:
        return False
    if edit.label not in {Kind.NAME, Kind.USERNAME}:
        return True
    word = name[edit.start : edit.stop]
    return len(word) >= _LONG_NAME_BYTES and not is_common(word)


@lru_cache(maxsize=_CACHE_ENTRIES)
def _context(leaf: LeafContext, *, number: bool = False) -> Context:
    key, parent, person = leaf
    return Context(key=normal_key(key), parent=normal_key(parent), person=person, number=number)


def _escaped(edits: list[Edit]) -> list[Edit]:
    if edits and any(_NEEDS_ESCAPE.search(edit.new) for edit in edits):
        return [edit._replace(new=_json_escape(edit.new, b"")) for edit in edits]
    return edits


def _json_escape(new: bytes, raw: bytes) -> bytes:
    return json.escape(new, ascii_only=b"\\u" in raw)
