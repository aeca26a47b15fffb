"""The parts of one recording put together, as its settings say; the same in every worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

from captures.errors import HookreelError
from captures.units import NS_PER_S
from recorder.addon import RecorderAddon
from recorder.embedding import EmbeddedProxy, Note, proxy_options
from recorder.settings import RecorderSettings
from recorder.sink import Sink


def make_addon(settings: RecorderSettings, sink: Sink, *, started_ns: int, note: Note) -> RecorderAddon:
    """The addon that records to ``sink``; offsets count from ``started_ns`` on the monotonic clock."""
    return RecorderAddon(
        sink,
        clock_ns=time.monotonic_ns,
        started_ns=started_ns,
        max_body_bytes=settings.max_body_bytes,
        note=note,
    )


async def start_proxy(
    settings: RecorderSettings,
    addon: RecorderAddon,
    *,
    own_addresses: Collection[tuple[str, int]],
    note: Note,
) -> EmbeddedProxy:
    """A proxy as ``settings`` want it, that serves no connection yet; it never calls ``own_addresses``."""
    return await EmbeddedProxy.start(
        proxy_options(
            confdir=settings.confdir, ssl_insecure=settings.ssl_insecure, upstream_ca=settings.upstream_ca
        ),
        addon,
        routes=settings.routes,
        own_addresses=own_addresses,
        note=note,
    )


async def until_stopped(stop: asyncio.Event, running: asyncio.Task[None], duration_ns: int | None) -> None:
    """
    Waits for ``stop``, or until the duration is over.

    Raises:
        HookreelError: ``running`` ended before.

    """
    stopped = asyncio.create_task(stop.wait())
    timeout_s = None if duration_ns is None else duration_ns / NS_PER_S
    await asyncio.wait({stopped, running}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if running.done():
        await running  # raises what ended it
        raise HookreelError("The proxy ended by itself; record again and report this.")
