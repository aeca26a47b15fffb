"""What a reader of a run must know, as sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from captures.provenance import provenance_sentence
from captures.reader import CaptureReader
from captures.text import counted
from captures.units import format_duration, format_size
from replayer.chain import Chains
from replayer.credentials import Keyring
from replayer.kept import KeptFacts
from replayer.results import ChainCounts
from replayer.rewrite import Tally
from replayer.schedule import Schedule
from replayer.sent import Sent
from replayer.services import Routing
from replayer.spoken import Spoken
from replayer.streams import StreamsSent


def capture_notes(reader: CaptureReader) -> tuple[str, ...]:
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


def host_notes(hosts: Collection[bytes], routing: Routing) -> tuple[str, ...]:
    """Traffic of several services that all goes to one is easily sent by mistake, so each is named."""
    if routing.hosts:
        unused = [one.host for one in routing.services if one.host not in routing.hosts]
        return tuple(
            f"Nothing in the schedule was recorded for {host}, which a --target names." for host in unused
        )
    if len(hosts) < 2:
        return ()
    return (f"Requests recorded for {len(hosts)} different hosts all go to the one target.",)


def version_notes(tally: Tally) -> tuple[str, ...]:
    """What was sent over another version of HTTP than was captured."""
    notes = []
    if tally.over_http2:
        notes.append(f"{tally.over_http2} exchanges captured over HTTP/2 were sent over HTTP/2.")
    if tally.http2 > tally.over_http2:
        others = tally.http2 - tally.over_http2
        notes.append(f"{others} exchanges captured over HTTP/2 were sent over HTTP/1.1.")
    return tuple(notes)


def rehearsed_version_notes(tally: Tally) -> tuple[str, ...]:
    """The same, of what would be sent."""
    if tally.over_http2:
        return (
            f"{tally.over_http2} exchanges captured over HTTP/2 would be sent over HTTP/2 if the target "
            "speaks it, else over HTTP/1.1.",
        )
    return (
        (f"{tally.http2} exchanges captured over HTTP/2 would be sent over HTTP/1.1.",) if tally.http2 else ()
    )


def request_notes(schedule: Schedule, tally: Tally, keyring: Keyring) -> tuple[str, ...]:
    """What was and was not done to the requests."""
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
    if tally.minted:
        notes.append(
            f"{tally.minted} requests carried tokens signed anew, for the time at which they were due."
        )
    if tally.unmapped:
        own = schedule.load.own_identities and schedule.load.copies > 1
        whose = "credentials (the recorded ones and those of copies)" if own else "recorded credentials"
        sent = "were sent as they stand" if own else "were sent as they stand in the capture"
        notes.append(
            f"{len(tally.unmapped)} {whose} without a mapping {sent}, {tally.unmapped.total()} times."
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


def stream_notes(spoken: Spoken | None, streams: StreamsSent) -> tuple[str, ...]:
    """What became of what clients say on streams."""
    notes = []
    if streams.ended_early:
        notes.append(
            f"{streams.ended_early} WebSocket sessions were over before their client had left, as the target "
            "closed or broke them."
        )
    if streams.substituted:
        notes.append(f"{streams.substituted} WebSocket messages carried what the target had minted before.")
    if streams.waited:
        notes.append(
            f"{streams.waited} WebSocket messages waited for the response that mints what they say, "
            f"{format_duration(streams.waited_ns)} in all."
        )
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


def chain_notes(chains: Chains | None, counts: ChainCounts) -> tuple[str, ...]:
    """What became of chained exchanges."""
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


def id_notes(fresh_ids: int) -> tuple[str, ...]:
    """How many requests got ids of their own."""
    if not fresh_ids:
        return ()
    return (f"{counted(fresh_ids, 'request')} got fresh delivery, event or idempotency ids (--keep-ids).",)


def unsendable_notes(unsendable: Counter[str]) -> tuple[str, ...]:
    """What of the capture can never be sent, and why."""
    if not unsendable:
        return ()
    reasons = ", ".join(f"{reason} x {count}" for reason, count in sorted(unsendable.items()))
    return (f"{unsendable.total()} captured requests are not valid HTTP and are never sent: {reasons}.",)


def sending_notes(sent: Sent) -> tuple[str, ...]:
    """What the sender did beside sending on recorded connections."""
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


def kept_notes(facts: KeptFacts | None) -> tuple[str, ...]:
    """How many responses are in the run, and how many should be and are not."""
    if facts is None:
        return ()
    notes = [f"{counted(facts.kept, 'response')} ({facts.policy}) kept in the run, anonymized."]
    if facts.over_budget:
        notes.append(
            f"{counted(facts.over_budget, 'response')} found no room in the budget of "
            f"{format_size(facts.budget_bytes)} and were not kept; raise --keep-budget or keep a sample."
        )
    if facts.lost:
        notes.append(f"{counted(facts.lost, 'response')} could not be anonymized and were not kept.")
    return tuple(notes)
