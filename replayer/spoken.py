"""
What was said on a capture's streams, and which of it an exchange's response had minted.

A client of a stream sends back what the target gave it (a topic with a run's id, a token), and a
target's message names what an earlier exchange began. Both are found by one rule: the value stands
in a message as a whole word or string, and a response of the capture was the first to show it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from captures.credentials import Credential, CredentialKind
from captures.index import CaptureIndex
from captures.model import Exchange, Message, MessageKind, Response
from replayer.answers import Answered, both, headers_of
from replayer.carried import WORDS, Carried, Origin, carried_by, respoken, words_of
from replayer.chain import VALUES_MAX, may_be_minted
from replayer.chaining import rows_of
from replayer.credentials import Keyring
from replayer.places import minted, spots
from replayer.schedule import Schedule
from replayer.shown import by_sizes

NEVER_SAID_NS = 2**63 - 1

Place = tuple[str, int]


class Said(NamedTuple):
    """A client's message: how long after the handshake was sent, text or binary, and when in the capture."""

    elapsed_ns: int
    text: bool
    payload: bytes
    offset_ns: int

    def __repr__(self) -> str:
        """Sizes alone."""
        return by_sizes(self)


class Answer(NamedTuple):
    """
    What a response minted that messages say: the recorded values by their places.

    It was whole at ``end_ns`` of the capture.
    """

    end_ns: int
    values: Mapping[Place, bytes]

    def __repr__(self) -> str:
        """Sizes alone."""
        return by_sizes(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """
    What the clients of a capture said, by the seq of the session, and what its messages carry.

    ``minted`` has, by the seq of an exchange, what its response minted that messages say. ``cut`` counts
    client messages that the recording cut.
    """

    said: Mapping[int, tuple[Said, ...]] = field(default_factory=dict, repr=False)
    minted: Mapping[int, Answer] = field(default_factory=dict, repr=False)
    cut: int = 0

    def texts(self) -> Iterator[bytes]:
        """The text messages of clients."""
        return (one.payload for said in self.said.values() for one in said if one.text)

    def words(self) -> Iterator[bytes]:
        """The recorded values that responses mint and messages say."""
        return (word for answer in self.minted.values() for word in answer.values.values())

    def carried(self) -> dict[int, tuple[tuple[Carried, ...], ...]]:
        """What each message of a client carries of what responses minted, by the seq of its session."""
        origins = {
            word: Origin(seq, place, answer.end_ns)
            for seq, answer in self.minted.items()
            for (place, _), word in answer.values.items()
        }
        found = {}
        for seq, said in self.said.items() if origins else ():
            carried = tuple(
                tuple(carried_by(one.payload, one.offset_ns, origins, text=one.text)) for one in said
            )
            if any(carried):
                found[seq] = carried
        return found

    def ties(self, schedule: Schedule) -> Iterator[tuple[int, int]]:
        """Every (row of a session, row whose response mints what its client says)."""
        parents = {
            seq: {one.parent for carried in messages for one in carried}
            for seq, messages in self.carried().items()
        }
        rows = rows_of(schedule, {*parents, *(parent for found in parents.values() for parent in found)})
        for (instance, seq), row in rows.items():
            for parent in parents.get(seq, ()):
                if (instance, parent) in rows:
                    yield row, rows[instance, parent]

    def messages(self, schedule: Schedule) -> int:
        """How many client messages a schedule comes to."""
        sizes = {seq: len(messages) for seq, messages in self.said.items()}
        rows = np.isin(schedule.seq, list(sizes))
        return sum(sizes[seq] for seq in schedule.seq[rows].tolist())


def listen(
    messages: Iterable[Message], offset_of: Callable[[int], int | None], sessions: Collection[int]
) -> tuple[Spoken, dict[bytes, int]]:
    """
    The client messages of ``sessions``, and every word of all messages of the streams that are known.

    With each word comes when a client first said it, ``NEVER_SAID_NS`` where only the target did.
    ``offset_of`` gives the offset of an exchange, None for one that is not there. At most ``VALUES_MAX``
    words are kept.
    """
    said: dict[int, list[Said]] = {}
    words: dict[bytes, int] = {}
    cut = 0
    for message in messages:
        offset_ns = None if message.kind is MessageKind.END else offset_of(message.exchange)
        if offset_ns is None:
            continue
        text = message.kind is MessageKind.TEXT
        if len(words) >= VALUES_MAX:
            pass
        elif message.from_client:
            for word in words_of(message.payload, text=text):
                words[word] = min(message.offset_ns, words.get(word, NEVER_SAID_NS))
        else:
            for word in WORDS.findall(message.payload):
                words.setdefault(word, NEVER_SAID_NS)
        if message.from_client and message.exchange in sessions:
            elapsed_ns = max(0, message.offset_ns - offset_ns)
            said.setdefault(message.exchange, []).append(
                Said(elapsed_ns, text, message.payload, message.offset_ns)
            )
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


def find_minted(exchanges: Iterable[Exchange], words: Mapping[bytes, int]) -> dict[int, Answer]:
    """
    What each response minted of ``words``, which come with when a client first said them, by seq.

    What a request or a client's message said before is the client's own.
    """
    own: set[bytes] = set()
    found: dict[int, Answer] = {}
    for exchange in exchanges:
        own.update(spot.value for spot in spots(exchange.request) if spot.value in words)
        outcome = exchange.outcome
        if not isinstance(outcome, Response) or outcome.stream or outcome.end_ns is None:
            continue
        values: dict[Place, bytes] = {}
        for one in minted(outcome.headers, outcome.body):
            said_ns = words.get(one.value)
            if said_ns is not None and one.value not in own and may_be_minted(one):
                own.add(one.value)
                if said_ns >= outcome.end_ns:
                    values[one.place, one.ordinal] = one.value
        if values:
            found[exchange.seq] = Answer(outcome.end_ns, values)
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
        self._seq = schedule.seq.data
        self._carried = spoken.carried()
        self._wanted = {
            row: spoken.minted[seq].values for (_, seq), row in rows_of(schedule, spoken.minted).items()
        }
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
        instance = self._instance[row]
        places = {place for place, _ in wanted}
        for one in minted(headers_of(head) or (), body, places):
            recorded = wanted.get((one.place, one.ordinal))
            if recorded is not None:
                self._fresh[instance, recorded] = one.value
                self.minted.append((row, one.value))

    def beside(self, answered: Answered) -> Answered:
        """What tells ``answered`` and this of a response."""
        return both(answered, self.answered)

    def carried(self, row: int, number: int) -> tuple[Carried, ...]:
        """What a client's message, by its number on the stream of ``row``, carries of what responses mint."""
        messages = self._carried.get(self._seq[row])
        return () if messages is None else messages[number]

    @property
    def parents(self) -> frozenset[int]:
        """The seqs of the exchanges whose responses mint what clients say."""
        return frozenset(
            one.parent for messages in self._carried.values() for carried in messages for one in carried
        )

    def payload(self, row: int, number: int, said: Said) -> bytes:
        """A client's message on the stream of ``row`` with fresh values and mapped credentials."""
        instance = self._instance[row]
        spoken = said.payload
        if said.text and self._message_of is not None:
            spoken = self._message_of(spoken, instance)
        carried = self.carried(row, number)
        if not carried and self._mapped is None:
            return spoken
        known = {one.word: self._fresh.get((instance, one.word)) for one in carried}

        def fresh(word: bytes) -> bytes | None:
            if word in known or self._mapped is None:
                return known.get(word)
            return self._mapped(word, instance % self._copies)

        broken = None in known.values()
        self.broken += broken
        self.substituted += bool(known) and not broken
        return respoken(spoken, fresh, text=said.text)


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
