"""One replay from end to end: a capture and options in, a run out."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from captures.conditions import any_holds
from captures.errors import CaptureError
from captures.limits import raise_file_limit
from captures.provenance import provenance_sentence
from captures.reader import CaptureReader
from captures.text import counted
from captures.units import format_duration
from captures.writer import TOOL
from replayer.chain import Chains, find_chains
from replayer.chaining import Chaining, sessions
from replayer.columns import Cells
from replayer.credentials import Keyring
from replayer.feed import telling
from replayer.fidelity import invalid_reasons
from replayer.options import CHAINS_AUTO_MAX, ReplayOptions, UseChains
from replayer.results import ChainCounts, Run, RunHeader
from replayer.rewrite import Tally
from replayer.schedule import UPGRADED, Schedule, build_schedule, schedule_hash
from replayer.sending import LOOP_NOTE, Offered, make_compiler, scheduled_exchanges, send_schedule
from replayer.sent import Progress, Sent, Start
from replayer.spoken import Spoken, find_minted, listen
from replayer.streams import StreamsSent, with_causes
from replayer.workers import send_in_workers, shares_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """A run, and what is not part of its rows."""

    run: Run
    spare_connections: int
    http_versions: dict[str, int]  # requests sent over each


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What a replay would send, by endpoint label, and what it would do to the requests."""

    schedule: Schedule
    exchanges: dict[str, int]
    connections: int
    messages: int
    tally: Tally
    notes: tuple[str, ...]


def replay(
    reader: CaptureReader, options: ReplayOptions, progress: Callable[[Progress], None] | None = None
) -> Replayed:
    """
    Send the capture's exchanges to the target on schedule.

    Raises:
        HookreelError: the target cannot be reached; nothing was sent.
        UsageError: an option does not fit the capture.
        CaptureError: the capture is damaged, or holds nothing to send.

    """
    schedule = _schedule(reader, options)
    raise_file_limit()
    offered_hash = schedule_hash(schedule, reader.header)
    chains = chains_of(reader, options.chains, schedule)
    spoken = spoken_of(reader, schedule, mints=chains is not None)
    offered = _offer(reader, options, schedule, chains, spoken, progress)
    sent = offered.sent
    notes = (
        *_capture_notes(reader),
        *_host_notes(offered.hosts),
        *_version_notes(offered.tally),
        *_notes(schedule, offered.tally, options.keyring),
        *_unsendable_notes(offered.unsendable),
        *_sending_notes(sent),
        *_chain_notes(chains, offered.chains),
        *_stream_notes(spoken, sent.streams),
        *_id_notes(offered.fresh_ids),
        *((f"{options.workers} worker processes sent it.",) if options.workers > 1 else ()),
        *LOOP_NOTE,
    )
    messages = with_causes(sent.streams)
    reasons = invalid_reasons(sent.rows, options.limits, messages)
    if sent.stopped is not None:
        unsent = f"it offered {len(sent.rows)} of {len(schedule)} exchanges"
        reasons = (f"The run was stopped early ({sent.stopped}): {unsent}.", *reasons)
    header = RunHeader(
        run_id=options.mark.decode() or secrets.token_hex(16),
        capture_id=reader.header.capture_id,
        target=options.target.url,
        speed=options.load.speed,
        load=options.load.text,
        started_wall_ns=sent.started_wall_ns,
        tool=TOOL,
        schedule_hash=offered_hash,
        endpoints=tuple(reader.endpoint_labels),
        limits=options.limits,
        invalid_reasons=reasons,
        notes=notes,
        interrupted=sent.stopped is not None,
        generator=sent.generator,
        chains=offered.chains,
    )
    return Replayed(
        run=Run(header=header, rows=sent.rows, messages=messages),
        spare_connections=sent.spare_connections,
        http_versions=_http_versions(offered.tally),
    )


def _offer(
    reader: CaptureReader,
    options: ReplayOptions,
    schedule: Schedule,
    chains: Chains | None,
    spoken: Spoken | None,
    progress: Callable[[Progress], None] | None,
) -> Offered:
    """Send the schedule, from this process or from several."""
    if options.workers == 1:
        return send_schedule(reader, options, schedule, progress=progress, chains=chains, spoken=spoken)
    ties = () if chains is None else Chaining(schedule, chains).pairs()
    if spoken is not None:
        ties = chain(ties, spoken.ties(schedule))
    shares = shares_of(sessions(schedule, ties), options.workers)
    send_share = partial(_send_share, reader, options, chains, spoken)
    return send_in_workers(schedule, shares, send_share, progress)


def rehearse(reader: CaptureReader, options: ReplayOptions) -> Rehearsal:
    """
    Do all that a replay does before the first connection, and nothing after.

    Raises:
        UsageError: an option does not fit the capture.
        CaptureError: the capture is damaged, or holds nothing to send.

    """
    schedule = _schedule(reader, options)
    # Nobody is asked: that the target speaks HTTP/2 is supposed, and the notes say so.
    compiler = make_compiler(reader, options, schedule, http2=lambda: not options.manners.http1)
    try:
        for _ in compiler.windows(scheduled_exchanges(reader, schedule)):
            pass
    except OSError as error:
        raise telling(error) from error
    tally = compiler.tally()
    spoken = spoken_of(reader, schedule, mints=False)
    counts = Counter(schedule.endpoint.tolist())
    return Rehearsal(
        schedule=schedule,
        exchanges={reader.endpoint_labels[number]: count for number, count in counts.most_common()},
        connections=len(set(schedule.connection.tolist())),
        messages=0 if spoken is None else spoken.messages(schedule),
        tally=tally,
        notes=(
            *_capture_notes(reader),
            *_host_notes(compiler.rewriter.hosts),
            *_rehearsed_version_notes(tally),
            *_notes(schedule, tally, options.keyring),
            *_unsendable_notes(compiler.unsendable()),
        ),
    )


def _send_share(
    reader: CaptureReader,
    options: ReplayOptions,
    chains: Chains | None,
    spoken: Spoken | None,
    schedule: Schedule,
    progress: Callable[[Progress], None],
    start: Start,
    cells: Cells,
) -> Offered:
    """A worker's part; what it reads of the capture is its own."""
    return send_schedule(
        reader, options, schedule, progress=progress, start=start, chains=chains, spoken=spoken, cells=cells
    )


def _schedule(reader: CaptureReader, options: ReplayOptions) -> Schedule:
    def chosen() -> NDArray[np.bool_]:
        found = (any_holds(options.load.match, exchange) for exchange in reader.exchanges())
        return np.fromiter(found, dtype=np.bool_, count=len(reader))

    schedule = build_schedule(reader.index, options.load, chosen)
    if not len(schedule):
        held, advice = "no exchanges", "record some traffic first"
        if len(reader):
            held, advice = "no exchange of that choice", "change --match, --from or --to"
        raise CaptureError(f"The capture holds {held}, so there is nothing to send; {advice}.")
    return schedule


def _capture_notes(reader: CaptureReader) -> tuple[str, ...]:
    """How it was anonymized, and what is wrong with it: a replay of the rest is no replay of the whole."""
    provenance = reader.header.anonymized
    notes: tuple[str, ...] = (
        () if provenance is None else (f"The capture is {provenance_sentence(provenance)}.",)
    )
    notes += tuple(
        f"The capture was made from one that was not complete: {problem}"
        for problem in reader.header.source_problems
    )
    if reader.problems:
        return (*notes, *(f"The capture is damaged: {problem}" for problem in reader.problems))
    if not reader.complete:
        return (*notes, "The capture was not closed; what it holds so far was replayed.")
    return notes


def _host_notes(hosts: Collection[bytes]) -> tuple[str, ...]:
    """Traffic of several services that all goes to one is easily sent by mistake."""
    if len(hosts) < 2:
        return ()
    return (f"Requests recorded for {len(hosts)} different hosts all go to the one target.",)


def _http_versions(tally: Tally) -> dict[str, int]:
    counts = {"HTTP/1": tally.requests - tally.over_http2, "HTTP/2": tally.over_http2}
    return {version: count for version, count in counts.items() if count}


def _version_notes(tally: Tally) -> tuple[str, ...]:
    notes = []
    if tally.over_http2:
        notes.append(f"{tally.over_http2} exchanges captured over HTTP/2 were sent over HTTP/2.")
    if tally.http2 > tally.over_http2:
        others = tally.http2 - tally.over_http2
        notes.append(f"{others} exchanges captured over HTTP/2 were sent over HTTP/1.1.")
    return tuple(notes)


def _rehearsed_version_notes(tally: Tally) -> tuple[str, ...]:
    if tally.over_http2:
        return (
            f"{tally.over_http2} exchanges captured over HTTP/2 would be sent over HTTP/2 if the target "
            "speaks it, else over HTTP/1.1.",
        )
    return (
        (f"{tally.http2} exchanges captured over HTTP/2 would be sent over HTTP/1.1.",) if tally.http2 else ()
    )


def _notes(schedule: Schedule, tally: Tally, keyring: Keyring) -> tuple[str, ...]:
    notes = []
    if tally.streams:
        notes.append(
            f"{tally.streams} streams were kept open for their recorded length at this speed; "
            "their times are those of the response head."
        )
    if tally.truncated:
        notes.append(
            f"{tally.truncated} requests had their bodies cut by the recording and were sent as stored."
        )
    if tally.unmapped:
        notes.append(
            f"{len(tally.unmapped)} recorded credentials without a mapping were sent as they stand in the "
            f"capture, {tally.unmapped.total()} times."
        )
    unknown = sorted(set(keyring.credentials) - set(tally.mapped))
    if unknown and tally.requests == len(schedule):  # else it may be in what was not sent
        notes.append(f"The credentials file maps what no request carries: {', '.join(unknown)}.")
    notes += [
        f"No request is signed by {scheme}, so the secret for it was not used."
        for scheme in sorted(set(keyring.by_scheme) - set(tally.signed))
    ]
    if tally.unsigned:
        schemes = ", ".join(f"{scheme} x {count}" for scheme, count in sorted(tally.unsigned.items()))
        notes.append(f"Signed exchanges without a secret were sent with a stand-in signature: {schemes}.")
    return tuple(notes)


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


def spoken_of(reader: CaptureReader, schedule: Schedule, *, mints: bool) -> Spoken | None:
    """
    What is said on the streams of what is sent; None without streams.

    ``mints`` asks which of it the responses of the capture minted.
    """
    index, load = reader.index, schedule.load
    offsets = dict(zip(index.seq.tolist(), index.offset_ns.tolist(), strict=True))
    scheduled = np.unique(schedule.seq[schedule.recorded_status == UPGRADED])
    spoken, words = listen(reader.messages(), offsets, frozenset(scheduled.tolist()))
    if not words and not spoken.said:
        return None
    if mints and words:
        window = reader.exchanges(start_ns=load.from_ns, stop_ns=load.to_ns)
        spoken = replace(spoken, minted=find_minted(window, words))
    return spoken


def _stream_notes(spoken: Spoken | None, streams: StreamsSent) -> tuple[str, ...]:
    notes = []
    if streams.ended_early:
        notes.append(
            f"{streams.ended_early} WebSocket sessions were over before their client had left, as the target "
            "closed or broke them."
        )
    if streams.substituted:
        notes.append(f"{streams.substituted} WebSocket messages carried what the target had minted before.")
    if streams.broken:
        notes.append(
            f"{streams.broken} WebSocket messages carried a recorded value, as no fresh one had come by then."
        )
    if streams.full:
        notes.append(
            "More was said on streams than is searched for minted values; later events have no cause."
        )
    if spoken is not None and spoken.cut:
        notes.append(f"{spoken.cut} WebSocket messages were cut by the recording and are sent as stored.")
    return tuple(notes)


def _chain_notes(chains: Chains | None, counts: ChainCounts) -> tuple[str, ...]:
    if chains is None:
        return ()
    notes = []
    if counts.chained:
        notes.append(
            f"{counts.substituted} of {counts.chained} chained exchanges carried what the target had minted "
            f"before; {counts.waited} waited for it, {format_duration(counts.waited_ns)} in all."
        )
    if counts.broken:
        notes.append(
            f"{counts.broken} chained exchanges carried a recorded value, as no fresh one came; "
            "see hookreel chains for where they come from."
        )
    if chains.full:
        notes.append("The capture holds more values than chains are looked for in; later ones were not seen.")
    return tuple(notes)


def _id_notes(fresh_ids: int) -> tuple[str, ...]:
    if not fresh_ids:
        return ()
    return (f"{counted(fresh_ids, 'request')} got fresh delivery, event or idempotency ids (--keep-ids).",)


def _unsendable_notes(unsendable: Counter[str]) -> tuple[str, ...]:
    if not unsendable:
        return ()
    reasons = ", ".join(f"{reason} x {count}" for reason, count in sorted(unsendable.items()))
    return (f"{unsendable.total()} captured requests are not valid HTTP and are never sent: {reasons}.",)


def _sending_notes(sent: Sent) -> tuple[str, ...]:
    notes = []
    if sent.spare_exchanges:
        notes.append(
            f"{sent.spare_exchanges} exchanges were due while their recorded connection was busy and went on "
            f"{sent.spare_connections} spare connections."
        )
    if sent.reconnections:
        notes.append(
            f"{sent.reconnections} times a recorded connection was opened again after the target closed it."
        )
    if sent.resent:
        notes.append(
            f"{sent.resent} exchanges were sent again on another connection, as the target had refused them "
            "unprocessed; their times count from the first sending."
        )
    notes += [
        f"{count} exchanges were dropped as this machine could open no connection for them ({why}); "
        "raise its limits (ulimit -n) or replay at a lower speed."
        for why, count in sorted(sent.shortages.items())
        if count
    ]
    if sent.crowded_out:
        notes.append(
            f"{sent.crowded_out} exchanges were dropped as --max-in-flight exchanges waited for a response."
        )
    if not sent.exact_timer:
        notes.append("This system has no timerfd; sends were timed by the event loop, with lower fidelity.")
    return tuple(notes)
