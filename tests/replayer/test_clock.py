"""Timers: never before their time, armed anew, and closed for good."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

import pytest

from replayer import clock
from replayer.clock import LoopTimer, TimerFd, finest_timer_slack, make_timer, shortest_time_slice


def wakes(make: Callable[..., clock.Timer], *delays_ns: int) -> list[tuple[int, int]]:
    """Arm for each delay in turn; when it was to wake and when it did."""

    async def run() -> list[tuple[int, int]]:
        woken = asyncio.Event()
        timer = make(asyncio.get_running_loop(), woken.set)
        found = []
        for delay_ns in delays_ns:
            woken.clear()
            at_ns = time.monotonic_ns() + delay_ns
            timer.arm(at_ns)
            await woken.wait()
            found.append((at_ns, time.monotonic_ns()))
        timer.close()
        timer.close()
        return found

    return asyncio.run(run())


def test_a_timerfd_never_wakes_early() -> None:
    """Each wake is at or after its time, and a time that has passed wakes at once."""
    for at_ns, woken_ns in wakes(TimerFd, 3_000_000, 100_000, 1, -1_000_000):
        assert woken_ns >= at_ns


def test_the_ctypes_timerfd_is_as_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without os.timerfd_create the C library's is used the same way."""
    monkeypatch.setattr(clock, "_open_timerfd", clock._open_timerfd_by_ctypes)
    for at_ns, woken_ns in wakes(TimerFd, 3_000_000, 100_000, -1):
        assert woken_ns >= at_ns


def test_arming_again_forgets_the_earlier_time() -> None:
    """Only the last arming wakes."""

    async def run() -> int:
        count = 0

        def wake() -> None:
            nonlocal count
            count += 1
            done.set()

        done = asyncio.Event()
        timer = make_timer(asyncio.get_running_loop(), wake)
        timer.arm(time.monotonic_ns() + 10**12)
        timer.arm(0)
        await done.wait()
        timer.close()
        return count

    assert asyncio.run(run()) == 1


def test_a_wake_without_expiry_is_ignored() -> None:
    """A stale readiness event reads nothing and wakes nobody."""

    async def run() -> bool:
        woken = False

        def wake() -> None:
            nonlocal woken
            woken = True

        timer = TimerFd(asyncio.get_running_loop(), wake)
        timer._readable()
        timer.close()
        return woken

    assert asyncio.run(run()) is False


def test_other_systems_use_the_loops_timer() -> None:
    """It wakes as well, and says that it is not exact."""
    timers = []

    def make(loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> clock.Timer:
        timers.append(make_timer(loop, wake, "darwin"))
        return timers[-1]

    assert len(wakes(make, 2_000_000, -1)) == 2
    assert isinstance(timers[0], LoopTimer)
    assert not timers[0].exact


def test_hints_to_the_kernel_harm_nobody() -> None:
    """They can be given anywhere, and leave the thread an ordinary one."""
    finest_timer_slack()
    finest_timer_slack("darwin")
    shortest_time_slice()
    shortest_time_slice("linux", "an unknown machine")
    shortest_time_slice("darwin")
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
