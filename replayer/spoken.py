"""
What was said on a capture's streams, and which of it an exchange's response had minted.

A client of a stream sends back what the target gave it (a topic with a run's id, a token), and a
target's message names what an earlier exchange began. Both are found by one rule: the value stands
in a message as a whole word, and a response of the capture was the first to show it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from captures.credentials import Credential, CredentialKind
from captures.http1 import Http1Error, parse_headers
from captures.index import CaptureIndex
from captures.model import Exchange, Message, MessageKind, Response
from replayer.chain import VALUES_MAX, may_be_minted
from replayer.credentials import Keyring
from replayer.places import minted, spots
from replayer.schedule import Schedule

_WORD_BYTES = 6
WORDS = re.compile(rb"eyJ[\w-]+\.[\w-]+\.[\w-]*|[\w-]{%d,}" % _WORD_BYTES, re.ASCII)
"""What may be a minted value or a token: a JWT, or a run of letters, digits, ``_`` and ``-``."""

Place = tuple[str, int]
Answered = Callable[[int, bytes, bytes], None]


class Said(NamedTuple):
    """A client's message: how long after the handshake was sent, as text or binary."""

    elapsed_ns: int
    text: bool
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """
    What the clients of a capture said, by the seq of the session, and what its messages carry.

    ``minted`` has, by the seq of an exchange, the places of its response whose values messages say,
    with the recorded values. ``cut`` counts client messages that the recording cut.
    """

    said: Mapping[int, tuple[Said, ...]] = field(default_factory=dict, repr=False)
    minted: Mapping[int, Mapping[Place, bytes]] = field(default_factory=dict, repr=False)
    cut: int = 0

    def texts(self) -> Iterator[bytes]:
        """The text messages of clients."""
        return (one.payload for said in self.said.values() for one in said if one.text)

    def words(self) -> Iterator[bytes]:
        """The recorded values that responses mint and messages say."""
        return (word for places in self.minted.values() for word in places.values())

    def ties(self, schedule: Schedule) -> Iterator[tuple[int, int]]:
        """Every (row of a session, row whose response mints what its client says)."""
        minters = {word: seq for seq, places in self.minted.items() for word in places.values()}
        rows = {
            (instance, seq): row
            for row, (instance, seq) in enumerate(
                zip(schedule.instance.tolist(), schedule.seq.tolist(), strict=True)
            )
        }
        for seq, said in self.said.items() if minters else ():
            carried = {
                minters[word] for one in said for word in WORDS.findall(one.payload) if word in minters
            }
            for instance in range(schedule.instances) if carried else ():
                row = rows.get((instance, seq))
                for parent in (rows.get((instance, one)) for one in carried):
                    if row is not None and parent is not None:
                        yield row, parent

    def messages(self, schedule: Schedule) -> int:
        """How many client messages a schedule comes to."""
        sizes = {seq: len(messages) for seq, messages in self.said.items()}
        rows = np.isin(schedule.seq, list(sizes))
        return sum(sizes[seq] for seq in schedule.seq[rows].tolist())


def listen(
    messages: Iterable[Message], offset_of: Callable[[int], int | None], sessions: Collection[int]
) -> tuple[Spoken, set[bytes]]:
    """
    The client messages of ``sessions``, and every word of all messages of the streams that are known.

    ``offset_of`` gives the offset of an exchange, None for one that is not there. At most ``VALUES_MAX``
    words are kept.
    """
    said: dict[int, list[Said]] = {}
    words: set[bytes] = set()
    cut = 0
    for message in messages:
        offset_ns = None if message.kind is MessageKind.END else offset_of(message.exchange)
        if offset_ns is None:
            continue
        if len(words) < VALUES_MAX:
            words.update(WORDS.findall(message.payload))
        if message.from_client and message.exchange in sessions:
            elapsed_ns = max(0, message.offset_ns - offset_ns)
            text = message.kind is MessageKind.TEXT
            said.setdefault(message.exchange, []).append(Said(elapsed_ns, text, message.payload))
            cut += message.truncated_bytes > 0
    ordered = {seq: tuple(sorted(one, key=lambda said: said.elapsed_ns)) for seq, one in said.items()}
    return Spoken(said=ordered, cut=cut), words


def offsets_of(index: CaptureIndex) -> Callable[[int], int | None]:
    """Gives the offset of an exchange by its seq, in the memory of one column: most have no messages."""
    order = np.argsort(index.seq, kind="stable")
    sequence = index.seq[order]

    def offset_of(seq: int) -> int | None:
        place = int(np.searchsorted(sequence, seq))
        known = place < len(sequence) and sequence[place] == seq
        return int(index.offset_ns[order[place]]) if known else None

    return offset_of


def find_minted(exchanges: Iterable[Exchange], words: set[bytes]) -> dict[int, dict[Place, bytes]]:
    """By the seq of an exchange: the places of its response that minted one of ``words``, and the value."""
    own: set[bytes] = set()  # what a request said first is the client's own
    found: dict[int, dict[Place, bytes]] = {}
    for exchange in exchanges:
        own.update(spot.value for spot in spots(exchange.request) if spot.value in words)
        outcome = exchange.outcome
        if not isinstance(outcome, Response) or outcome.stream:
            continue
        for one in minted(outcome.headers, outcome.body):
            if one.value in words and one.value not in own and may_be_minted(one):
                own.add(one.value)
                found.setdefault(exchange.seq, {})[one.place, one.ordinal] = one.value
    return found


class FreshWords:
    """
    While a replay runs: what the target mints for what messages say, and the messages with it.

    ``message_of`` gives a text message as the client of an instance (the number of a copy and loop) says it.
    """

    def __init__(
        self,
        schedule: Schedule,
        spoken: Spoken,
        keyring: Keyring,
        salt: bytes,
        message_of: Callable[[bytes, int], bytes] | None = None,
    ) -> None:
        self.spoken = spoken
        self._message_of = message_of
        self._instance = schedule.instance.data
        self._wanted = {
            row: spoken.minted[int(schedule.seq[row])]
            for row in np.flatnonzero(np.isin(schedule.seq, list(spoken.minted))).tolist()
        }
        self._recorded = {word for places in spoken.minted.values() for word in places.values()}
        self._fresh: dict[tuple[int, bytes], bytes] = {}
        self.minted: list[tuple[int, bytes]] = []
        """The row of an exchange, and a value that its response minted."""
        self.substituted = 0
        self.broken = 0
        self._copies = schedule.load.copies
        self._mapped = _mapping(keyring, salt)

    def is_parent(self, row: int) -> bool:
        """Whether the response to ``row`` mints what messages say."""
        return row in self._wanted

    def answered(self, row: int, head: bytes, body: bytes) -> None:
        """Take the values that the response to ``row`` minted; ``head`` is its raw head."""
        wanted = self._wanted.get(row)
        if wanted is None:
            return
        try:
            headers = parse_headers(head.partition(b"\n")[2])
        except Http1Error:
            return
        instance = self._instance[row]
        for one in minted(headers, body):
            recorded = wanted.get((one.place, one.ordinal))
            if recorded is not None:
                self._fresh[instance, recorded] = one.value
                self.minted.append((row, one.value))

    def beside(self, answered: Answered) -> Answered:
        """What tells ``answered`` and this of a response."""

        def both(row: int, head: bytes, body: bytes) -> None:
            answered(row, head, body)
            self.answered(row, head, body)

        return both

    def payload(self, row: int, said: Said) -> bytes:
        """A client's message on the stream of ``row`` with fresh values and mapped credentials."""
        instance = self._instance[row]
        spoken = said.payload
        if said.text and self._message_of is not None:
            spoken = self._message_of(spoken, instance)
        if not self._recorded and self._mapped is None:
            return spoken
        changed = kept = False

        def fresh(match: re.Match[bytes]) -> bytes:
            nonlocal changed, kept
            word = match[0]
            value = self._fresh.get((instance, word))
            if value is not None:
                changed = True
            elif word in self._recorded:
                kept = True
            elif self._mapped is not None:
                value = self._mapped(word, instance % self._copies)
            if value is None:
                return word
            return _in_json(value) if said.text else value

        payload = WORDS.sub(fresh, spoken)
        self.broken += kept
        self.substituted += changed and not kept
        return payload


def _in_json(value: bytes) -> bytes:
    """A value as it stands in a JSON text; text messages are JSON but for rare ones, where it is the same."""
    return json.dumps(value.decode("utf-8", "replace"), ensure_ascii=False)[1:-1].encode()


def _mapping(keyring: Keyring, salt: bytes) -> Callable[[bytes, int], bytes | None] | None:
    """Gives a copy's value for a word that is a mapped credential, whatever header it was named by."""
    names = {tuple(name.split(":")[:-1]) for name in keyring.credentials if not name.startswith("basic:")}
    if not names:
        return None
    known: dict[tuple[bytes, int], bytes | None] = {}

    def mapped(word: bytes, copy: int) -> bytes | None:
        if (word, copy) not in known:
            if len(known) >= VALUES_MAX:
                known.clear()
            values = (_value(name, word, copy) for name in names)
            known[word, copy] = next((value for value in values if value is not None), None)
        return known[word, copy]

    def _value(name: tuple[str, ...], word: bytes, copy: int) -> bytes | None:
        kind = CredentialKind(name[0])
        credential = Credential(
            kind=kind, name=":".join(name[1:]), header=0, start=0, stop=len(word), value=word
        )
        return keyring.value(credential.fingerprint(salt), credential, copy)

    return mapped
