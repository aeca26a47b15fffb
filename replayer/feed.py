"""Windows compiled ahead of the sender by one thread, in bounded memory."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Iterator

from captures.errors import CaptureError, HookreelError
from captures.units import MIB
from replayer.compile import Window

_AHEAD_BYTES = 48 * MIB  # of windows in the queue; those in the sender's and the compiler's hands come on top
_ROW_BYTES = 9  # its bound and its trait
_UNFINISHED_BYTES = 2048  # a request that is kept as objects, beside its body
_SWITCH_INTERVAL_S = 20e-6


class WindowFeed:
    """
    Runs ``windows`` in a thread that stops when ``ahead_bytes`` of them wait to be taken.

    A small capture is compiled as a whole before the first send, and the thread has ended by
    then. While it still runs, the interpreter's switch interval is short, so that it holds the
    sender up by some 20 us and not by the usual 5 ms.
    """

    def __init__(self, windows: Iterator[Window], ahead_bytes: int = _AHEAD_BYTES) -> None:
        self._windows = windows
        self._ahead_bytes = ahead_bytes
        self._queue: deque[Window | HookreelError | None] = deque()
        self._queued_bytes = 0
        self._changed = threading.Condition()
        self._primed = threading.Event()
        self._stopped = False
        self._ended = False
        self._error: HookreelError | None = None
        self._failed_at_once: HookreelError | None = None
        self._thread = threading.Thread(target=self._compile, name="compile", daemon=True)
        self._normal_interval_s = sys.getswitchinterval()

    def prime(self) -> None:
        """
        Start, and wait until the queue is full or everything is compiled.

        Raises:
            HookreelError: not even the first window could be compiled, so nothing can be sent.

        """
        self._thread.start()
        self._primed.wait()
        if self._failed_at_once is not None:
            raise self._failed_at_once
        if self._thread.is_alive():
            sys.setswitchinterval(_SWITCH_INTERVAL_S)

    def next(self, *, wait: bool) -> Window | None:
        """
        The next window; None after the last one, or when it is not there yet and may not be waited for.

        Raises:
            HookreelError: the capture could not be compiled further. Only whoever waits is told:
                what was compiled before can still be sent.

        """
        if self._error is not None and wait:
            error, self._error = self._error, None
            raise error
        if self._ended:
            return None
        with self._changed:
            while wait and not self._queue:
                self._changed.wait()
            if not self._queue:
                return None
            item = self._queue.popleft()
            if isinstance(item, Window):
                self._queued_bytes -= held_bytes(item)
            self._changed.notify_all()
        if item is None:
            self._ended = True
            return None
        if isinstance(item, HookreelError):
            self._ended = True
            self._error = item
            return self.next(wait=wait)
        return item

    def close(self) -> None:
        """End the thread, whatever it is at."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()
        sys.setswitchinterval(self._normal_interval_s)

    def _compile(self) -> None:
        made = 0
        try:
            for window in self._windows:
                if not self._put(window):
                    return
                made += 1
            self._put(None)
        except BaseException as error:  # noqa: BLE001  it is raised again where the windows are taken
            told = telling(error)
            if not made:
                self._failed_at_once = told
            self._put(told)
        finally:
            self._primed.set()

    def _put(self, item: Window | HookreelError | None) -> bool:
        """Queue ``item`` once there is room; False when nobody takes it any more."""
        with self._changed:
            while self._queued_bytes >= self._ahead_bytes and not self._stopped:
                self._primed.set()
                self._changed.wait()
            if self._stopped:
                return False
            self._queue.append(item)
            if isinstance(item, Window):
                self._queued_bytes += held_bytes(item)
            self._changed.notify_all()
        return True


def held_bytes(window: Window) -> int:
    """The memory that a window takes, roughly."""
    bodies = [len(one.request.body) for one in window.unsigned.values()]
    bodies += [len(one.request.body) for one in window.chained.values()]
    return len(window.wires) + _ROW_BYTES * len(window.traits) + _UNFINISHED_BYTES * len(bodies) + sum(bodies)


def telling(error: BaseException) -> HookreelError:
    """
    What stopped the compiler as an error for the user, with ``error`` as its cause.

    Of an error that nobody foresaw only the kind is told: its text could quote a request.
    """
    if isinstance(error, HookreelError):
        return error
    why = (error.strerror or "input error").lower() if isinstance(error, OSError) else type(error).__name__
    told = CaptureError(f"The capture cannot be read further ({why}); check it with hookreel verify.")
    told.__cause__ = error
    return told
