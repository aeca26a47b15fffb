"""
One absolute timer for the event loop, finer than the loop's own.

asyncio and uvloop timers are 1 ms clocks, and uvloop's may fire early. A Linux timerfd armed
with an absolute time on CLOCK_MONOTONIC wakes the loop within tens of microseconds and never
before its time. Elsewhere the loop's timer is used, with lower fidelity.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from captures.units import NS_PER_S

_PR_SET_TIMERSLACK = 29
_TFD_TIMER_ABSTIME = 1
_SLICE_NS = 100_000  # the least that the kernel takes
_SCHED_SYSCALLS = {"x86_64": (314, 315), "aarch64": (274, 275)}  # sched_setattr, sched_getattr
_TFD_NONBLOCK = os.O_NONBLOCK
_TFD_CLOEXEC = os.O_CLOEXEC


class Timer(Protocol):
    """Wakes a callback once, at a time on CLOCK_MONOTONIC."""

    exact: bool

    def arm(self, at_ns: int) -> None:
        """Wake at ``at_ns``, at once if that has passed; an earlier arming is forgotten."""

    def close(self) -> None:
        """Wake no more."""


def make_timer(
    loop: asyncio.AbstractEventLoop, wake: Callable[[], None], platform: str = sys.platform
) -> Timer:
    """The finest timer that ``platform`` (as ``sys.platform`` names it) has."""
    if platform == "linux":
        return TimerFd(loop, wake)
    return LoopTimer(loop, wake)


class TimerFd:
    """A timerfd that the event loop reads."""

    exact = True

    def __init__(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        self._loop = loop
        self._wake = wake
        self._fd, self._settime = _open_timerfd()
        loop.add_reader(self._fd, self._readable)

    def arm(self, at_ns: int) -> None:
        """Wake at ``at_ns``; 0 would disarm the timer, so the earliest is 1."""
        self._settime(max(1, at_ns))

    def close(self) -> None:
        """Wake no more."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _readable(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # armed anew between the event and this call
        self._wake()


class LoopTimer:
    """The event loop's own timer: about 1 ms, and it may be early, so the waker checks the time."""

    exact = False

    def __init__(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        self._loop = loop
        self._wake = wake
        self._handle: asyncio.TimerHandle | None = None

    def arm(self, at_ns: int) -> None:
        """Wake at ``at_ns`` or up to a millisecond off."""
        self.close()
        delay_s = max(0, at_ns - time.monotonic_ns()) / NS_PER_S
        self._handle = self._loop.call_later(delay_s, self._wake)

    def close(self) -> None:
        """Wake no more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


def finest_timer_slack(platform: str = sys.platform) -> None:
    """
    Let the kernel delay this thread's waits by 1 ns instead of its default 50,000.

    It is a hint: where the system knows no such thing, nothing happens.
    """
    if platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)


def shortest_time_slice(platform: str = sys.platform, machine: str = os.uname().machine) -> None:
    """
    Ask the kernel for slices of 0.1 ms, so that this thread is run soon after it wakes.

    Linux 6.12 and newer take a slice length for ordinary threads (sched_setattr, EEVDF): a
    thread with short slices gets no more of the processor, but gets it earlier. Older kernels
    ignore the value. It is a hint: where it cannot be given, nothing happens.
    """
    numbers = _SCHED_SYSCALLS.get(machine)
    if platform != "linux" or numbers is None:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = _SchedAttributes(size=ctypes.sizeof(_SchedAttributes))
    by_reference = ctypes.byref(attributes)
    set_number, get_number = numbers
    if libc.syscall(get_number, 0, by_reference, attributes.size, 0) == 0 and attributes.policy == 0:
        attributes.runtime_ns = _SLICE_NS
        libc.syscall(set_number, 0, by_reference, 0)


class _SchedAttributes(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime_ns", ctypes.c_uint64),
        ("deadline_ns", ctypes.c_uint64),
        ("period_ns", ctypes.c_uint64),
    )


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))


def _open_timerfd() -> tuple[int, Callable[[int], Any]]:
    """A descriptor, and the function that arms it at an absolute time in ns."""
    if sys.version_info >= (3, 13):
        fd = os.timerfd_create(time.CLOCK_MONOTONIC, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)
        return fd, lambda at_ns: os.timerfd_settime_ns(fd, flags=os.TFD_TIMER_ABSTIME, initial=at_ns)
    return _open_timerfd_by_ctypes()


def _open_timerfd_by_ctypes() -> tuple[int, Callable[[int], Any]]:
    libc = ctypes.CDLL(None, use_errno=True)
    fd = int(libc.timerfd_create(time.CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC))
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    spec = _Itimerspec()
    by_reference = ctypes.byref(spec)
    settime = libc.timerfd_settime
    settime.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)

    def arm(at_ns: int) -> None:
        spec.it_value.tv_sec, spec.it_value.tv_nsec = divmod(at_ns, NS_PER_S)
        settime(fd, _TFD_TIMER_ABSTIME, by_reference, None)

    return fd, arm
