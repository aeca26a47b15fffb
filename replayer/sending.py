"""One process's part of a replay: compile, then only send."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from captures.model import Exchange
from captures.reader import CaptureReader
from replayer.chain import Chains
from replayer.chaining import Chaining
from replayer.columns import Cells
from replayer.compile import Compiler
from replayer.engine import Engine
from replayer.feed import WindowFeed
from replayer.fresh_ids import FreshIds
from replayer.identities import Copies, Identities
from replayer.keeping import Gathered, Keeper
from replayer.negotiate import speaks_http2
from replayer.options import ReplayOptions
from replayer.passes import Identity, exchanges_of
from replayer.results import ChainCounts, Outcome
from replayer.rewrite import Rewriter, Tally
from replayer.schedule import Schedule
from replayer.sent import Sent, Start
from replayer.services import Routing, Service
from replayer.spoken import FreshWords, Spoken

try:
    import uvloop

    _new_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    LOOP_NOTE: tuple[str, ...] = ()
except ImportError:  # pragma: no cover  where uvloop has no wheel
    _new_loop = asyncio.new_event_loop
    LOOP_NOTE = ("uvloop is not installed; the event loop of asyncio sent this run, with more lag.",)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Offered:
    """
    What was sent, and what was done to the requests before.

    ``hosts`` are those they were recorded for; ``fresh_ids`` of them got ids of their own. ``gathered`` are
    the responses to keep, as they came.
    """

    sent: Sent
    tally: Tally
    unsendable: Counter[str]
    hosts: frozenset[bytes]
    chains: ChainCounts
    fresh_ids: int
    gathered: Gathered


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Studied:
    """
    What is known of a capture before anything is sent.

    ``chains`` is what later requests take from earlier responses, ``spoken`` what is said on streams,
    ``identities`` what makes customers of further copies.
    """

    chains: Chains | None = None
    spoken: Spoken | None = None
    identities: Identities | None = None


def send_schedule(
    reader: CaptureReader,
    options: ReplayOptions,
    schedule: Schedule,
    routing: Routing,
    *,
    start: Start,
    cells: Cells,
    studied: Studied,
) -> Offered:
    """
    Send every row of ``schedule`` from this process.

    ``routing`` says where its rows go, ``start`` when run time 0 is, ``cells`` where the results are
    written, ``studied`` what is known of the capture.

    Raises:
        HookreelError: the target cannot be reached; nothing was sent.
        CaptureError: the capture is damaged.

    """
    chains = studied.chains
    chaining = None if chains is None or not chains.links else Chaining(schedule, chains)
    fresh = _fresh_words(reader, options, schedule, studied)

    def http2(service: int) -> bool:
        return _may_use_http2(options, routing.services[service])

    moves = studied.identities is not None
    compiler = make_compiler(reader, options, schedule, routing, chaining, fresh, http2=http2, moves=moves)
    fresh_ids = make_fresh_ids(options, chains)
    identity = make_identity(options, studied, fresh_ids)
    keeper = make_keeper(options, schedule)
    feed = WindowFeed(compiler.windows(scheduled_exchanges(reader, schedule, identity)))

    async def send() -> Sent:
        engine = Engine(
            schedule=schedule,
            feed=feed,
            dials=routing.dials(schedule, options.timeout_ns),
            server_names=options.recorded_sni,
            start=start,
            chaining=chaining,
            cells=cells,
            fresh=fresh,
            manners=options.manners,
            keeper=keeper,
        )
        return await engine.run()

    try:
        feed.prime()
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            sent = runner.run(send())
    finally:
        feed.close()
    return Offered(
        sent=sent,
        tally=compiler.tally(sent.rows.outcome != Outcome.DROPPED),
        unsendable=compiler.unsendable(len(sent.rows)),
        hosts=compiler.hosts,
        chains=ChainCounts() if chaining is None else chaining.counts,
        fresh_ids=0 if fresh_ids is None else fresh_ids.replaced,
        gathered=Gathered() if keeper is None else keeper.gathered(),
    )


def _fresh_words(
    reader: CaptureReader, options: ReplayOptions, schedule: Schedule, studied: Studied
) -> FreshWords | None:
    """What clients say on streams, with what the target minted; None where nothing is said."""
    if studied.spoken is None:
        return None
    copies = make_copies(options, studied)
    message = None if copies is None else copies.message
    return FreshWords(schedule, studied.spoken, options.keyring, reader.header.fingerprint_salt, message)


def make_compiler(
    reader: CaptureReader,
    options: ReplayOptions,
    schedule: Schedule,
    routing: Routing,
    chaining: Chaining | None = None,
    fresh: FreshWords | None = None,
    *,
    http2: Callable[[int], bool],
    moves: bool = False,
) -> Compiler:
    """What turns the capture's exchanges into what is sent; ``http2`` tells whether a service speaks it."""
    rewriters = [
        Rewriter(
            host=None if options.recorded_host else service.target.authority.encode(),
            keyring=options.keyring,
            salt=reader.header.fingerprint_salt,
            scheme=service.target.scheme.encode(),
            mark=options.mark,
        )
        for service in routing.services
    ]
    return Compiler(
        schedule=schedule,
        endpoints=routing.endpoints,
        rewriters=rewriters,
        service=routing.service(schedule),
        keyring=options.keyring,
        server_names=options.recorded_sni,
        chaining=chaining,
        fresh=fresh,
        http2=http2,
        recorded_wall_ns=reader.header.started_wall_ns,
        moves=moves,
        kept=None if options.keep is None else options.keep.wanted(schedule),
    )


def _may_use_http2(options: ReplayOptions, service: Service) -> bool:
    """Whether HTTP/2 is wanted, and the target of ``service`` speaks it: it is asked now."""
    if options.manners.http1 or (service.target.tls and service.tls_http2 is None):
        return False
    return speaks_http2(service.target, service.tls_http2, options.timeout_ns)


def make_fresh_ids(options: ReplayOptions, chains: Chains | None) -> FreshIds | None:
    """What gives the run its own ids; None when they are sent as recorded."""
    if not options.ids_key:
        return None
    return FreshIds(
        options.ids_key, kept=() if chains is None else chains.values(), signs=options.keyring.signs
    )


def make_copies(options: ReplayOptions, studied: Studied) -> Copies | None:
    """What makes an exchange or a message that of its copy; None when all are sent as recorded."""
    if studied.identities is None:
        return None
    return Copies(studied.identities, options.load.copies, signs=options.keyring.signs)


def make_identity(options: ReplayOptions, studied: Studied, fresh_ids: FreshIds | None) -> Identity | None:
    """What makes an exchange that of its copy and loop; None when all are sent as recorded."""
    copies = make_copies(options, studied)
    if copies is None or fresh_ids is None:
        return copies or fresh_ids

    def both(exchange: Exchange, instance: int) -> Exchange:
        return fresh_ids(copies(exchange, instance), instance)

    return both


def make_keeper(options: ReplayOptions, schedule: Schedule) -> Keeper | None:
    """What gathers the responses to keep, within this process's part of the budget; None to keep none."""
    keep = options.keep
    if keep is None:
        return None
    return Keeper(keep, schedule, budget_bytes=keep.budget_bytes // options.workers)


def scheduled_exchanges(
    reader: CaptureReader, schedule: Schedule, identity: Identity | None = None
) -> Iterator[Exchange]:
    """One exchange for each row of ``schedule``, made over by ``identity``."""
    load = schedule.load
    return exchanges_of(
        schedule, lambda: reader.exchanges(start_ns=load.from_ns, stop_ns=load.to_ns), identity
    )
