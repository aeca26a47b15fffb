"""The feed: windows in order, bounded ahead, errors handed on."""

from __future__ import annotations

import sys
import threading
from array import array
from collections.abc import Iterator

import pytest

from captures.errors import CaptureError
from replayer.compile import Window
from replayer.feed import WindowFeed, held_bytes


def window(first: int) -> Window:
    return Window(
        first=first,
        wires=memoryview(b""),
        bounds=array("Q", [0, 0]),
        traits=b"\0",
        unsigned={},
        chained={},
        stream_ns={},
        server_names=(),
    )


def test_a_small_capture_is_compiled_before_the_first_send() -> None:
    """After priming the thread has ended and the windows come in order, then None for ever."""
    feed = WindowFeed(iter([window(0), window(1)]))
    feed.prime()
    found = [feed.next(wait=False), feed.next(wait=True), feed.next(wait=True), feed.next(wait=False)]
    assert [one and one.first for one in found] == [0, 1, None, None]
    feed.close()


def test_the_compiler_stays_a_few_windows_ahead() -> None:
    """Of many windows only as many are made as the queue holds, and one in hand."""
    made: list[int] = []
    interval_s = sys.getswitchinterval()

    def windows() -> Iterator[Window]:
        for number in range(100):
            made.append(number)
            yield window(number)

    feed = WindowFeed(windows(), ahead_bytes=3 * held_bytes(window(0)))
    feed.prime()
    assert len(made) <= 4
    assert sys.getswitchinterval() < interval_s
    found = [feed.next(wait=True) for _ in range(101)]
    assert [one.first for one in found if one] == list(range(100))
    feed.close()
    assert sys.getswitchinterval() == interval_s


def test_a_window_that_is_not_there_yet_is_not_waited_for() -> None:
    """Without waiting the answer is None, and the window comes later."""
    go = threading.Event()

    def windows() -> Iterator[Window]:
        yield window(0)
        go.wait(10)
        yield window(1)

    feed = WindowFeed(windows(), ahead_bytes=1)
    feed.prime()
    assert feed.next(wait=False) is not None
    assert feed.next(wait=False) is None
    go.set()
    assert feed.next(wait=True) is not None
    feed.close()


def test_errors_are_raised_where_windows_are_taken() -> None:
    """What was compiled before is still handed out; afterwards there is nothing."""

    def windows() -> Iterator[Window]:
        yield window(0)
        raise CaptureError("damaged")

    feed = WindowFeed(windows())
    feed.prime()
    assert feed.next(wait=True) is not None
    assert feed.next(wait=False) is None  # whoever looks ahead is not told
    with pytest.raises(CaptureError, match="damaged"):
        feed.next(wait=True)
    assert feed.next(wait=True) is None
    feed.close()


def test_closing_ends_a_compiler_in_mid_work() -> None:
    """The thread does not outlive the run."""
    feed = WindowFeed((window(number) for number in range(10**9)), ahead_bytes=2)
    feed.prime()
    feed.close()
    assert not feed._thread.is_alive()
