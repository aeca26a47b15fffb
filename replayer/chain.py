"""
Which requests carry what the target minted in an earlier response: ids, cookies, tokens, ETags.

Found by analysing the capture alone. A value counts as minted when a response is the first that
shows it: what a request said before is the client's own, and its echo proves nothing. A link
needs the response to have ended before the request began. Values that chance can repeat (short
numbers) count only between places whose names say that they hold an id.

A request about a minted thing also waits for the last one that may have changed the thing (an order
is looked at after it was paid): these links carry no value.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from captures.model import Exchange, Response
from replayer.places import Minted, Spot, minted, spots

VALUES_MAX = 2_000_000  # of each kind; beyond them nothing new is learnt, and the result says so
_STRONG_BYTES = 16
_WEAK_BYTES = 6
_DIGITS = re.compile(rb"\d{1,19}")
_OPAQUE = re.compile(rb"(?=[^0-9]*[0-9])[^\s]{6,}|[A-Za-z0-9+/=_.~-]{24,}")
_NO_ID = re.compile(
    rb"\d{4}-\d\d-\d\d(?:[T ].*)?"  # a date
    rb"|-?\d*\.\d+(?:[eE][+-]?\d+)?"  # a measure
    rb"|v?\d+(?:\.\d+){1,3}(?:[-+.].{0,20})?"  # a version or an address
    rb"|https?://.*|/.*|[^@\s]+@[^@\s]+"
)
_ID_KEY = re.compile(
    r"(?:^|[._-])(?:id|iid|uuid|guid|key|number|nonce|ref|token)$|[a-z]Id$|_id$", re.IGNORECASE
)
_SAFE_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS"})  # RFC 9110, section 9.2.1
_CREDENTIAL_PLACES = ("cookie.", "header.")
_ID_PLACES = re.compile(r"^(?:path|location)\.")


class Link(NamedTuple):
    """
    A request takes the value at ``place`` (``ordinal``) of the response to ``parent`` to ``spots``.

    Without ``spots`` it only comes after that response. ``think_ns`` is the recorded time from that
    response's end to the request.
    """

    parent: int
    place: str
    ordinal: int
    spots: tuple[Spot, ...]
    think_ns: int


class Rule(NamedTuple):
    """A kind of link: from a place of one endpoint's responses to a place of another's requests."""

    parent_endpoint: str
    parent_place: str
    child_endpoint: str
    child_place: str


@dataclass(slots=True, kw_only=True)
class Evidence:
    """How often a rule's request place held a minted value, of how many; ``values`` different ones."""

    linked: int = 0
    values: set[int] = field(default_factory=set)
    think_ns: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chains:
    """
    What was found.

    ``links`` is by the seq of the request; ``asked`` counts, by endpoint and place
    of requests, how often there was a value at all. ``full`` says that the analysis ran out of
    room and later values were not looked at.
    """

    links: dict[int, tuple[Link, ...]]
    rules: dict[Rule, Evidence]
    asked: Counter[tuple[str, str]]
    full: bool

    def values(self) -> Iterator[bytes]:
        """The recorded values that responses mint and requests carry; some come more than once."""
        return (spot.value for found in self.links.values() for link in found for spot in link.spots)

    @property
    def parents(self) -> frozenset[int]:
        """The exchanges whose responses are needed."""
        return frozenset(link.parent for links in self.links.values() for link in links)


def endpoints_of(chains: Chains, label: Callable[[int], str]) -> Callable[[int], str]:
    """Gives an exchange's endpoint, by seq, as the rules have it; ``label`` gives that of the capture."""

    def endpoint_of(seq: int) -> str:
        spots_there = (spot for link in chains.links.get(seq, ()) for spot in link.spots)
        return _without_values(label(seq), [spot.place for spot in spots_there])

    return endpoint_of


class _Source(NamedTuple):
    seq: int
    endpoint: str
    place: str
    ordinal: int
    end_ns: int


class _Candidate(NamedTuple):
    seq: int
    offset_ns: int
    changed_ns: int | None  # when the response to it was whole, if it may have changed what it names
    spot: Spot
    rule: Rule
    source: _Source


def find_chains(exchanges: Iterable[Exchange], label: Callable[[Exchange], str]) -> Chains:
    """The chains of a capture, given in send order; ``label`` gives an exchange's endpoint."""
    analysis = _Analysis()
    ended: list[tuple[int, int, str, int, Response]] = []  # by the time at which a response was whole
    for exchange in exchanges:
        while ended and ended[0][0] <= exchange.offset_ns:
            end_ns, seq, endpoint, connection, response = heapq.heappop(ended)
            analysis.answered(seq, endpoint, connection, end_ns, response)
        endpoint = analysis.asked(exchange, label(exchange))
        outcome = exchange.outcome
        if isinstance(outcome, Response) and outcome.end_ns is not None and not outcome.stream:
            heapq.heappush(ended, (outcome.end_ns, exchange.seq, endpoint, exchange.connection, outcome))
    return analysis.chains()


class _Analysis:
    def __init__(self) -> None:
        self._said: set[int] = set()  # hashes of what requests said: the clients' own values
        self._first: dict[bytes, _Source] = {}
        self._own: dict[tuple[bytes, int], _Source] = {}  # the latest answer on a client's own connection
        self._candidates: list[_Candidate] = []
        self._asked: Counter[tuple[str, str]] = Counter()
        self._evidence: dict[Rule, Evidence] = {}
        self._full = False

    def answered(self, seq: int, endpoint: str, connection: int, end_ns: int, response: Response) -> None:
        """Learn what a response mints."""
        for found in minted(response.headers, response.body):
            value = found.value
            if not may_be_minted(found) or hash(value) in self._said:
                continue
            if len(self._first) >= VALUES_MAX:
                self._full = True
                return
            source = _Source(seq, endpoint, found.place, found.ordinal, end_ns)
            self._first.setdefault(value, source)
            self._own.setdefault((value, connection), source)
            if found.place.startswith(("cookie.", "header.")):
                self._own[value, connection] = source  # the latest answer is what a client goes by

    def asked(self, exchange: Exchange, endpoint: str) -> str:
        """
        Look for minted values in a request, and take the others for the client's own.

        Gives its endpoint, in which a minted path segment stands as ``{id}``.
        """
        found = [
            (spot, self._own.get((spot.value, exchange.connection)) or self._first.get(spot.value))
            for spot in spots(exchange.request)
        ]
        endpoint = _without_values(endpoint, [spot.place for spot, source in found if source is not None])
        for spot, source in found:
            self._asked[endpoint, spot.place] += 1
            if source is None:
                if len(self._said) < VALUES_MAX:
                    self._said.add(hash(spot.value))
                else:
                    self._full = True
                continue
            if not _plausible(spot, source):
                continue
            rule = Rule(source.endpoint, source.place, endpoint, spot.place)
            evidence = self._evidence.setdefault(rule, Evidence())
            evidence.linked += 1
            evidence.values.add(hash(spot.value))
            evidence.think_ns.append(exchange.offset_ns - source.end_ns)
            self._candidates.append(
                _Candidate(exchange.seq, exchange.offset_ns, _changed_ns(exchange), spot, rule, source)
            )
        return endpoint

    def chains(self) -> Chains:
        """What is left once every rule's evidence is known."""
        kept = {rule: known for rule, known in self._evidence.items() if self._convincing(rule, known)}
        links: dict[int, dict[_Source, list[Spot]]] = {}
        offsets: dict[int, int] = {}
        after: dict[int, dict[int, int]] = {}  # by request: whom it comes after, with the end of that
        changes: dict[_Source, list[tuple[int, int]]] = {}  # by thing: who may have changed it, until when
        for one in self._candidates:
            if one.rule not in kept:
                continue
            links.setdefault(one.seq, {}).setdefault(one.source, []).append(one.spot)
            offsets[one.seq] = one.offset_ns
            if one.spot.place.startswith(_CREDENTIAL_PLACES):
                continue  # a session is no thing that each of its requests changes
            known = changes.setdefault(one.source, [])
            before = [(end_ns, seq) for end_ns, seq in known if end_ns <= one.offset_ns and seq != one.seq]
            if before:
                end_ns, seq = max(before)
                after.setdefault(one.seq, {})[seq] = end_ns
                known[:] = [item for item in known if item >= (end_ns, seq)]
            if one.changed_ns is not None:
                known.append((one.changed_ns, one.seq))
        return Chains(
            links={
                seq: tuple(_links(by_source, after.get(seq, {}), offsets[seq]))
                for seq, by_source in links.items()
            },
            rules=kept,
            asked=self._asked,
            full=self._full,
        )

    def _convincing(self, rule: Rule, evidence: Evidence) -> bool:
        """Several values are no chance; a single one must be what most such requests carry."""
        asked = self._asked[rule.child_endpoint, rule.child_place]
        return len(evidence.values) > 1 or evidence.linked * 2 >= asked


def _links(by_source: dict[_Source, list[Spot]], after: dict[int, int], offset_ns: int) -> Iterator[Link]:
    for source, found in by_source.items():
        yield Link(source.seq, source.place, source.ordinal, tuple(found), offset_ns - source.end_ns)
    for seq, end_ns in after.items():
        yield Link(seq, "", 0, (), offset_ns - end_ns)


def _without_values(endpoint: str, places: list[str]) -> str:
    segments = endpoint.split("/")
    for place in places:
        number = place.removeprefix("path.")
        if number != place and int(number) < len(segments):
            segments[int(number)] = "{id}"
    return "/".join(segments)


def _changed_ns(exchange: Exchange) -> int | None:
    outcome = exchange.outcome
    if exchange.request.method in _SAFE_METHODS or not isinstance(outcome, Response) or outcome.stream:
        return None
    return outcome.end_ns


def may_be_minted(found: Minted) -> bool:
    """Whether a value can name something new: an opaque one, or a number where ids stand."""
    value = found.value
    if _DIGITS.fullmatch(value):
        return len(value) >= _WEAK_BYTES or holds_id(found.place)
    if found.place.startswith("cookie."):
        return len(value) >= _WEAK_BYTES
    return _OPAQUE.fullmatch(value) is not None and _NO_ID.fullmatch(value) is None


def _plausible(spot: Spot, source: _Source) -> bool:
    """Whether the value, as strong as it is, may have come from there to here."""
    if spot.place == source.place or not is_weak(spot.value):
        return True
    return holds_id(source.place) and holds_id(spot.place)


def is_weak(value: bytes) -> bool:
    """Whether chance can repeat a value, so that only between places of ids it means the same thing."""
    if len(value) >= _STRONG_BYTES:
        return False
    return _DIGITS.fullmatch(value) is not None or len(value) < 2 * _WEAK_BYTES


def holds_id(place: str) -> bool:
    """Whether a place's name says that an id stands there."""
    return _ID_PLACES.search(place) is not None or _ID_KEY.search(place) is not None
