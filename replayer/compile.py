"""
Exchanges into wire bytes, before they are sent: windows of one buffer each.

A window holds the requests of consecutive schedule rows, ready to be written to a socket.
Only signatures over the time of sending, and tokens, are left open; they are finished just before due.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

from captures.errors import CaptureError
from captures.http1 import Http1Error
from captures.model import Exchange, Failure, Request, Response
from captures.signatures import is_timed, recognise
from captures.units import NS_PER_S
from replayer.chaining import Chaining
from replayer.credentials import Keyring
from replayer.handshake import is_handshake
from replayer.minting import Minting
from replayer.results import UInt16s
from replayer.rewrite import Deeds, Rewriter, Tally, captured_over_http2
from replayer.schedule import UPGRADED, Schedule
from replayer.spoken import FreshWords
from replayer.unfinished import ChainedRequest, UnsignedRequest

WINDOW_BYTES = 8 * 1024 * 1024
_REFUSED = frozenset({401, 403})
_ROW_BYTES = 200  # what a row takes beside its wire bytes, roughly


class Trait(IntFlag):
    """What the sender must know of a request beside its bytes."""

    HEAD = 1  # its response has no body
    STREAM = 2  # its response goes on until it is closed
    TIMED = 4  # signed, or its tokens are, for the moment of sending
    UNSENDABLE = 8  # no valid request; it has no bytes
    CHAINED = 16  # carries what an earlier response minted
    WANTED = 32  # its whole response is: it mints what a later request carries, or is kept
    SOCKET = 64  # asks for a WebSocket
    HTTP2 = 128  # goes over HTTP/2, and is packed for it


@dataclass(slots=True, kw_only=True)
class Window:
    """
    The wire bytes (packed requests for HTTP/2) of schedule rows ``first`` to ``first + len(traits)``.

    Row ``first + i`` is ``wires[bounds[i] : bounds[i + 1]]``; ``unsigned`` and ``chained`` hold those
    that are not in the buffer yet. ``stream_ns`` says how long a stream stays open after sending, None
    until the end of the run. ``server_names`` (for SNI) is empty unless it was asked for.
    """

    first: int
    wires: memoryview = field(repr=False)
    bounds: array[int] = field(repr=False)
    traits: bytes = field(repr=False)
    unsigned: dict[int, UnsignedRequest] = field(repr=False)
    chained: dict[int, ChainedRequest] = field(repr=False)
    stream_ns: dict[int, int | None]
    server_names: tuple[str, ...]

    @property
    def stop(self) -> int:
        """One past the last row."""
        return self.first + len(self.traits)


def _never(_service: int) -> bool:
    return False


class Compiler:
    """
    Makes windows out of a schedule and the exchanges of its capture, in the same order.

    ``rewriters`` has one for each service, ``service`` for each row the place of its own in there (None:
    all have the first). ``http2`` tells whether the target of a service speaks HTTP/2; it is asked once,
    when an exchange captured over HTTP/2 comes up. A connection speaks what its first exchange was
    captured over. ``recorded_wall_ns`` is the Unix time of the capture's start. ``moves`` says that the
    exchanges are not as captured: values in them may have other lengths.
    """

    def __init__(
        self,
        *,
        schedule: Schedule,
        endpoints: tuple[str, ...],
        rewriters: Sequence[Rewriter],
        keyring: Keyring,
        service: UInt16s | None = None,
        server_names: bool = False,
        chaining: Chaining | None = None,
        fresh: FreshWords | None = None,
        http2: Callable[[int], bool] = _never,
        kept: NDArray[np.bool_] | None = None,
        window_bytes: int = WINDOW_BYTES,
        recorded_wall_ns: int = 0,
        moves: bool = False,
    ) -> None:
        self._schedule = schedule
        self._kept = None if kept is None else kept.data
        self._endpoints = endpoints
        self._rewriters = rewriters
        self._service = None if service is None else service.data
        self._keyring = keyring
        self._with_server_names = server_names
        self._chaining = chaining
        self._fresh = fresh
        self._ask_http2 = http2
        self._targets_speak_http2: dict[int, bool] = {}  # by service
        self._speaks_http2: dict[int, bool] = {}  # by connection
        self._window_bytes = window_bytes
        self._minter = keyring.minter() if keyring.minting else None
        self._recorded_wall_ns = recorded_wall_ns
        self._moves = moves
        self._kinds: dict[Deeds, int] = {}  # numbered, as most requests have the same done to them
        self._kind_of_row = array("I")

    def windows(self, exchanges: Iterable[Exchange]) -> Iterator[Window]:
        """
        The windows in order; together they hold each row of the schedule once.

        Raises:
            CaptureError: the exchanges are not those of the schedule.
            UsageError: a signing secret does not fit its scheme.

        """
        draft = _Draft(first=0)
        row = 0
        sequence, endpoint = self._schedule.seq.data, self._schedule.endpoint.data
        for exchange in exchanges if len(self._schedule) else ():
            if exchange.seq != sequence[row]:
                continue  # left out of the schedule
            self._add(draft, row, exchange, self._endpoints[endpoint[row]])
            row += 1
            if row == len(self._schedule):
                break
            if draft.size_bytes >= self._window_bytes:
                yield draft.window()
                draft = _Draft(first=row)
        if row < len(self._schedule):
            raise CaptureError("The capture does not hold all exchanges of its index; verify it.")
        if draft.traits:
            yield draft.window()

    @property
    def hosts(self) -> frozenset[bytes]:
        """Whom the requests were recorded for."""
        return frozenset().union(*(rewriter.hosts for rewriter in self._rewriters))

    def tally(self, sent: NDArray[np.bool_] | None = None) -> Tally:
        """What was done to the first ``len(sent)`` requests where ``sent`` is true; all by default."""
        kinds = np.frombuffer(self._kind_of_row, dtype=np.uint32)
        chosen = kinds if sent is None else kinds[: len(sent)][sent[: len(kinds)]]
        counts = np.bincount(chosen, minlength=len(self._kinds)).tolist()
        tally = Tally()
        for deeds, count in zip(self._kinds, counts, strict=True):
            if count and not deeds.unsendable:
                tally.add(deeds, count)
        return tally

    def unsendable(self, rows: int | None = None) -> Counter[str]:
        """How many of the first ``rows`` requests cannot be sent, by reason; of all by default."""
        kinds = np.frombuffer(self._kind_of_row, dtype=np.uint32)[:rows]
        counts = np.bincount(kinds, minlength=len(self._kinds)).tolist()
        found: Counter[str] = Counter()
        for deeds, count in zip(self._kinds, counts, strict=True):
            if count and deeds.unsendable:
                found[deeds.unsendable] += count
        return found

    def _add(self, draft: _Draft, row: int, exchange: Exchange, label: str) -> None:
        over_http2 = self._goes_over_http2(row, exchange.request)
        rewriter = self._rewriters[0 if self._service is None else self._service[row]]
        copy = self._schedule.instance.data[row] % self._schedule.load.copies
        request, deeds = rewriter(exchange.request, over_http2=over_http2, copy=copy)
        unsigned = self._unsigned(exchange, request, rewriter, label)
        recipe, minting = unsigned.recipe, unsigned.minting
        if minting is not None:
            deeds = replace(deeds, minted=True)
        trait = Trait.HEAD if request.method == b"HEAD" else Trait(0)
        trait |= Trait.HTTP2 if over_http2 else Trait(0)
        wire = b""
        try:
            socket = self._is_socket(row, exchange)
            # a secret that does not fit is found now, not in mid-run; tokens are only made when due
            wire = replace(unsigned, minting=None).wire(0)
            if recipe is not None:
                deeds = replace(deeds, signed=recipe.scheme.value)
            elif exchange.signing is not None:
                deeds = replace(deeds, unsigned=exchange.signing.scheme.value)
            if minting is not None or (recipe is not None and is_timed(recipe)):
                wire = b""
                trait |= Trait.TIMED
                draft.unsigned[row] = unsigned
                draft.size_bytes += len(request.body) + 4 * _ROW_BYTES
        except Http1Error as error:
            trait, deeds = Trait.UNSENDABLE, Deeds(unsendable=str(error))
        else:
            if socket:
                trait |= Trait.SOCKET
                deeds = replace(deeds, socket=True)
                draft.stream_ns[row] = self._stream_ns(row, exchange)
            elif _is_stream(exchange):
                trait |= Trait.STREAM
                deeds = replace(deeds, stream=True)
                draft.stream_ns[row] = self._stream_ns(row, exchange)
            if self._is_wanted(row, trait):
                trait |= Trait.WANTED
            if self._chaining is not None and self._chaining.is_chained(row):
                trait, wire = (trait | Trait.CHAINED) & ~Trait.TIMED, b""
                draft.unsigned.pop(row, None)
                if self._moves:
                    self._chaining.find_again(row, exchange.request)
                draft.chained[row] = ChainedRequest(
                    request=exchange.request, unsigned=unsigned, http2=over_http2, copy=copy
                )
                draft.size_bytes += len(request.body) + 4 * _ROW_BYTES
        draft.add(wire, trait)
        self._kind_of_row.append(self._kinds.setdefault(deeds, len(self._kinds)))
        if self._with_server_names:
            draft.server_names.append(server_name(exchange.request.authority))

    def _is_wanted(self, row: int, trait: Trait) -> bool:
        """Whether somebody needs the whole response; what goes on until it is closed is not kept."""
        if self._kept is not None and self._kept[row] and not trait & Trait.STREAM:
            return True
        if self._fresh is not None and self._fresh.is_parent(row):
            return True
        return self._chaining is not None and self._chaining.is_parent(row)

    def _unsigned(
        self, exchange: Exchange, request: Request, rewriter: Rewriter, label: str
    ) -> UnsignedRequest:
        """``request``, rewritten, with what is to be signed in it; without a secret nothing is."""
        recipe = exchange.signing
        if recipe is None and self._keyring.has_secrets:
            recipe = recognise(request.headers)
        secret = None if recipe is None else self._keyring.secret(recipe.scheme, label)
        minting = None
        if self._minter is not None and self._minter.wanted(request):
            used_s = (self._recorded_wall_ns + exchange.offset_ns) // NS_PER_S
            refused = isinstance(exchange.outcome, Response) and exchange.outcome.status in _REFUSED
            minting = Minting(minter=self._minter, used_s=used_s, refused=refused)
        return UnsignedRequest(
            request=request,
            rewriter=rewriter,
            recipe=None if secret is None else recipe,
            secret=secret,
            minting=minting,
        )

    def _is_socket(self, row: int, exchange: Exchange) -> bool:
        found = is_handshake(exchange.request)
        if not found and self._schedule.recorded_status[row] == UPGRADED:
            raise Http1Error("an upgrade to another protocol than WebSocket")
        return found

    def _goes_over_http2(self, row: int, request: Request) -> bool:
        if is_handshake(request):  # opened by an upgrade, which is HTTP/1.1's, beside the others
            return False
        number = self._schedule.connection.data[row]
        known = self._speaks_http2.get(number)
        if known is None:
            known = captured_over_http2(request) and self._target_speaks_http2(row)
            self._speaks_http2[number] = known
        return known

    def _target_speaks_http2(self, row: int) -> bool:
        service = 0 if self._service is None else self._service[row]
        if service not in self._targets_speak_http2:
            self._targets_speak_http2[service] = self._ask_http2(service)
        return self._targets_speak_http2[service]

    def _stream_ns(self, row: int, exchange: Exchange) -> int | None:
        outcome = exchange.outcome
        if isinstance(outcome, Failure) or not outcome.stream:
            return 0  # a handshake that was refused: what opens all the same is closed at once
        if outcome.end_ns is None:
            return None
        return self._schedule.scale_ns(row, max(0, outcome.end_ns - exchange.offset_ns))


def begin_with_http2(window: Window, service: UInt16s | None) -> set[int]:
    """The services whose first exchange in ``window`` goes over HTTP/2; ``service`` has that of each row."""
    over_http2 = np.frombuffer(window.traits, np.uint8) & Trait.HTTP2 != 0
    of = np.zeros(len(over_http2), np.uint16) if service is None else service[window.first : window.stop]
    services, first = np.unique(of, return_index=True)
    return set(services[over_http2[first]].tolist())


def _is_stream(exchange: Exchange) -> bool:
    return not isinstance(exchange.outcome, Failure) and exchange.outcome.stream


def server_name(authority: bytes) -> str:
    """The host of an authority, without port and brackets."""
    text = authority.decode("latin-1")
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]


@dataclass(slots=True, kw_only=True)
class _Draft:
    first: int
    wires: list[bytes] = field(default_factory=list, repr=False)
    traits: bytearray = field(default_factory=bytearray, repr=False)
    unsigned: dict[int, UnsignedRequest] = field(default_factory=dict, repr=False)
    chained: dict[int, ChainedRequest] = field(default_factory=dict, repr=False)
    stream_ns: dict[int, int | None] = field(default_factory=dict)
    server_names: list[str] = field(default_factory=list)
    size_bytes: int = 0

    def add(self, wire: bytes, trait: Trait) -> None:
        self.wires.append(wire)
        self.traits.append(int(trait))
        self.size_bytes += len(wire) + _ROW_BYTES

    def window(self) -> Window:
        bounds = array("Q", [0])
        end = 0
        for wire in self.wires:
            end += len(wire)
            bounds.append(end)
        return Window(
            first=self.first,
            wires=memoryview(b"".join(self.wires)),
            bounds=bounds,
            traits=bytes(self.traits),
            unsigned=self.unsigned,
            chained=self.chained,
            stream_ns=self.stream_ns,
            server_names=tuple(self.server_names),
        )
