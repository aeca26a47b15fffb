"""One replay from end to end: a capture and options in, a run out."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from captures.conditions import any_holds
from captures.errors import CaptureError
from captures.limits import raise_file_limit
from captures.model import Request
from captures.reader import CaptureReader
from captures.writer import TOOL
from replayer.board import Board, Rows, soon
from replayer.chain import Chains, find_chains
from replayer.chaining import Chaining, sessions
from replayer.columns import Cells
from replayer.feed import telling
from replayer.fidelity import invalid_reasons
from replayer.identities import Identities, learnt
from replayer.keeping import clean_kept
from replayer.kept import KeptFacts, KeptResponses
from replayer.live import Onlooker
from replayer.messages import MessageRows
from replayer.notes import (
    capture_notes,
    chain_notes,
    host_notes,
    id_notes,
    kept_notes,
    rehearsed_version_notes,
    request_notes,
    sending_notes,
    stream_notes,
    unsendable_notes,
    version_notes,
)
from replayer.options import CHAINS_AUTO_MAX, ReplayOptions, UseChains
from replayer.results import Run, RunHeader
from replayer.rewrite import Tally
from replayer.schedule import UPGRADED, Schedule, build_schedule, schedule_hash
from replayer.sending import LOOP_NOTE, Offered, Studied, make_compiler, scheduled_exchanges, send_schedule
from replayer.sent import Sent, Start
from replayer.services import Routing, Service, routed
from replayer.spoken import Spoken, find_minted, listen, offsets_of
from replayer.streams import with_causes
from replayer.workers import send_in_workers, shares_of

_NOBODY = Onlooker()


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """A run, and what is not part of its rows."""

    run: Run
    spare_connections: int
    http_versions: dict[str, int]  # requests sent over each


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What a replay would send, by service and by endpoint label, and what it would do to the requests."""

    schedule: Schedule
    services: tuple[tuple[Service, int], ...]
    exchanges: dict[str, int]
    connections: int
    messages: int
    tally: Tally
    notes: tuple[str, ...]


def replay(reader: CaptureReader, options: ReplayOptions, onlooker: Onlooker = _NOBODY) -> Replayed:
    """
    Send the capture's exchanges to the target on schedule; ``onlooker`` shows how it goes.

    Raises:
        HookreelError: the target cannot be reached; nothing was sent.
        UsageError: an option does not fit the capture.
        CaptureError: the capture is damaged, or holds nothing to send.

    """
    schedule, routing = _schedule(reader, options)
    raise_file_limit()
    offered_hash = schedule_hash(schedule, reader.header)
    chains = chains_of(reader, options.chains, schedule)
    spoken = spoken_of(reader, schedule, mints=chains is not None)
    identities = identities_of(reader, options, chains, spoken)
    studied = Studied(chains=chains, spoken=spoken, identities=identities)
    parts = _parts(options, schedule, studied)
    options = replace(options, workers=len(parts))  # fewer than asked for where there are fewer sessions
    offered = _offer(reader, options, schedule, routing, studied, parts, onlooker)
    sent = offered.sent
    kept, facts = _kept(reader, options, offered)
    notes = (
        *capture_notes(reader),
        *host_notes(offered.hosts, routing),
        *version_notes(offered.tally),
        *request_notes(schedule, offered.tally, options.keyring),
        *unsendable_notes(offered.unsendable),
        *sending_notes(sent),
        *chain_notes(chains, offered.chains),
        *stream_notes(spoken, sent.streams),
        *id_notes(offered.fresh_ids),
        *(() if identities is None else identities.notes()),
        *kept_notes(facts),
        *((f"{options.workers} worker processes sent it.",) if options.workers > 1 else ()),
        *LOOP_NOTE,
    )
    messages = with_causes(sent.streams)
    header = RunHeader(
        run_id=options.mark.decode() or secrets.token_hex(16),
        capture_id=reader.header.capture_id,
        target=routing.text,
        speed=options.load.speed,
        load=options.load.text,
        started_wall_ns=sent.started_wall_ns,
        tool=TOOL,
        schedule_hash=offered_hash,
        endpoints=routing.labels,
        services=routing.hosts,
        limits=options.limits,
        invalid_reasons=_reasons(options, sent, messages, len(schedule)),
        notes=notes,
        interrupted=sent.stopped is not None,
        generator=sent.generator,
        chains=offered.chains,
        anonymized=reader.header.anonymized,
        capture_problems=(*reader.header.source_problems, *reader.problems),
        kept=facts,
    )
    return Replayed(
        run=Run(header=header, rows=sent.rows, messages=messages, kept=kept),
        spare_connections=sent.spare_connections,
        http_versions=_http_versions(offered.tally),
    )


def _offer(
    reader: CaptureReader,
    options: ReplayOptions,
    schedule: Schedule,
    routing: Routing,
    studied: Studied,
    parts: Sequence[Rows],
    onlooker: Onlooker,
) -> Offered:
    """Send the schedule, from this process or from one for each of several ``parts``."""
    board = Board(parts, len(schedule))
    send_share = partial(_send_share, reader, options, routing, studied, board)
    with onlooker.looking_on(schedule, board, f"{options.load.text}, to {routing.text}"):
        if len(parts) == 1:
            return send_share(schedule, soon, board.shares[0].cells)
        return send_in_workers(schedule, board, send_share)


def _parts(options: ReplayOptions, schedule: Schedule, studied: Studied) -> Sequence[Rows]:
    """The rows of each process that sends."""
    if options.workers == 1:
        return [slice(0, len(schedule))]
    ties = () if studied.chains is None else Chaining(schedule, studied.chains).pairs()
    if studied.spoken is not None:
        ties = chain(ties, studied.spoken.ties(schedule))
    return shares_of(sessions(schedule, ties), options.workers)


def rehearse(reader: CaptureReader, options: ReplayOptions) -> Rehearsal:
    """
    Do all that a replay does before the first connection, and nothing after.

    Raises:
        UsageError: an option does not fit the capture.
        CaptureError: the capture is damaged, or holds nothing to send.

    """
    schedule, routing = _schedule(reader, options)
    # Nobody is asked: that the target speaks HTTP/2 is supposed, and the notes say so.
    compiler = make_compiler(
        reader, options, schedule, routing, http2=lambda _service: not options.manners.http1
    )
    try:
        for _ in compiler.windows(scheduled_exchanges(reader, schedule)):
            pass
    except OSError as error:
        raise telling(error) from error
    tally = compiler.tally()
    spoken = spoken_of(reader, schedule, mints=False)
    counts = Counter(dict(enumerate(np.bincount(schedule.endpoint).tolist())))
    labels = routing.labels
    return Rehearsal(
        schedule=schedule,
        services=routing.counts(schedule),
        exchanges={labels[number]: count for number, count in counts.most_common() if count},
        connections=len(np.unique(schedule.connection)),
        messages=0 if spoken is None else spoken.messages(schedule),
        tally=tally,
        notes=(
            *capture_notes(reader),
            *host_notes(compiler.hosts, routing),
            *rehearsed_version_notes(tally),
            *request_notes(schedule, tally, options.keyring),
            *unsendable_notes(compiler.unsendable()),
        ),
    )


def _send_share(
    reader: CaptureReader,
    options: ReplayOptions,
    routing: Routing,
    studied: Studied,
    board: Board,
    schedule: Schedule,
    start: Start,
    cells: Cells,
) -> Offered:
    """One process's part; what it reads of the capture is its own."""
    return send_schedule(
        reader,
        options,
        schedule,
        routing,
        start=board.noting(start),
        cells=cells,
        studied=studied,
    )


def _reasons(options: ReplayOptions, sent: Sent, messages: MessageRows, due: int) -> tuple[str, ...]:
    """Why the run is invalid; ``due`` exchanges were to be sent."""
    reasons = invalid_reasons(sent.rows, options.limits, messages)
    if sent.stopped is None:
        return reasons
    unsent = f"it offered {len(sent.rows)} of {due} exchanges"
    return (f"The run was stopped early ({sent.stopped}): {unsent}.", *reasons)


def _kept(
    reader: CaptureReader, options: ReplayOptions, offered: Offered
) -> tuple[KeptResponses, KeptFacts | None]:
    """The responses that the run keeps, fit to be stored, and what became of the others."""
    if options.keep is None:
        return KeptResponses(), None
    request_of, secrets_of_target = partial(_request_of, reader), options.keyring.values()
    return clean_kept(options.keep, offered.gathered, offered.sent.rows, request_of, secrets_of_target)


def _request_of(reader: CaptureReader, seq: int) -> Request:
    """The captured request of an exchange."""
    offset_ns = reader.index.offset_of(seq)
    found = () if offset_ns is None else reader.exchanges(start_ns=offset_ns, stop_ns=offset_ns + 1)
    request = next((exchange.request for exchange in found if exchange.seq == seq), None)
    if request is None:
        raise CaptureError("The capture no longer holds what was sent; verify it.")
    return request


def _schedule(reader: CaptureReader, options: ReplayOptions) -> tuple[Schedule, Routing]:
    def chosen() -> NDArray[np.bool_]:
        found = (any_holds(options.load.match, exchange) for exchange in reader.exchanges())
        return np.fromiter(found, dtype=np.bool_, count=len(reader))

    schedule = build_schedule(reader.index, options.load, chosen)
    if not len(schedule):
        held, advice = "no exchanges", "record some traffic first"
        if len(reader):
            held, advice = "no exchange of that choice", "change --match, --from or --to"
        raise CaptureError(f"The capture holds {held}, so there is nothing to send; {advice}.")
    window = reader.exchanges(start_ns=options.load.from_ns, stop_ns=options.load.to_ns)
    return routed(schedule, options.destinations, reader.endpoint_labels, window)


def _http_versions(tally: Tally) -> dict[str, int]:
    counts = {"HTTP/1": tally.requests - tally.over_http2, "HTTP/2": tally.over_http2}
    return {version: count for version, count in counts.items() if count}


def chains_of(reader: CaptureReader, use: UseChains, schedule: Schedule) -> Chains | None:
    """The chains of what is sent; None when they are not to be looked for, or are too many to."""
    if use is UseChains.NEVER:
        return None
    if use is UseChains.AUTO and len(reader) > CHAINS_AUTO_MAX:
        return None
    load = schedule.load
    labels, index = reader.endpoint_labels, reader.index
    endpoint_of = dict(zip(index.seq.tolist(), index.endpoint.tolist(), strict=True))
    window = reader.exchanges(start_ns=load.from_ns, stop_ns=load.to_ns)
    return find_chains(window, lambda exchange: labels[endpoint_of[exchange.seq]])


def identities_of(
    reader: CaptureReader, options: ReplayOptions, chains: Chains | None, spoken: Spoken | None
) -> Identities | None:
    """What makes customers of further copies; None when there are none, or all are sent as recorded."""
    load = options.load
    if options.identities is None or not load.own_identities or load.copies == 1:
        return None
    identities = options.identities(load.seed)
    learnt(
        identities,
        reader.exchanges(start_ns=load.from_ns, stop_ns=load.to_ns),
        () if spoken is None else spoken.texts(),
        copies=load.copies,
        minted=(*(() if chains is None else chains.values()), *(() if spoken is None else spoken.words())),
        keyring=options.keyring,
        salt=reader.header.fingerprint_salt,
    )
    return identities


def spoken_of(reader: CaptureReader, schedule: Schedule, *, mints: bool) -> Spoken | None:
    """
    What is said on the streams of what is sent; None without streams.

    ``mints`` asks which of it the responses of the capture minted.
    """
    load = schedule.load
    scheduled = np.unique(schedule.seq[schedule.recorded_status == UPGRADED])
    spoken, words = listen(reader.messages(), offsets_of(reader.index), frozenset(scheduled.tolist()))
    if not words and not spoken.said:
        return None
    if mints and words:
        window = reader.exchanges(start_ns=load.from_ns, stop_ns=load.to_ns)
        spoken = replace(spoken, minted=find_minted(window, words))
    return spoken
