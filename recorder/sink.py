"""Takes the rows of exchanges from the proxy's hooks at once; a process or thread of its own writes them."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgpack

from captures.errors import HookreelError
from captures.model import RecorderFacts
from captures.units import MIB
from recorder.account import Account, Count, Tally
from recorder.ring import Ring
from recorder.scribe import UNICODE_ERRORS, Chooser, Cleaner, Close, Discard, Ending, Scribe, Writer

QUEUE_BYTES = 128 * MIB  # what may wait to be written; above it exchanges are dropped and counted
# A disk that took nothing for so long is given up on: at stop the process must not hang for ever.
CLOSE_TIMEOUT_S = 30.0
WRITER_NICE = 5
_OOM_SCORE = Path("/proc/self/oom_score_adj")
_OOM_STEP, _OOM_MOST = 500, 1000
_SPARE = 8  # an eighth of the queue, or this much, is kept for the ends of streams
_SPARE_BYTES = MIB
_DIED = (
    "The process that writes the capture ended by itself; what it had not written is lost. "
    "Record again and report this."
)
_BEHIND = (
    "The capture is written slower than traffic passes: what finds no room to wait is counted as dropped."
)
_SLOW = "The disk did not take the capture in time; use a faster one and record again."


class Sink:
    """
    A bounded queue, and what writes the capture from it.

    ``saw``, ``drop``, ``offer`` and ``offer_message`` belong to the proxy's thread and return at
    once: a row is packed into memory that the other side reads. That side opens the capture,
    asks ``chooser``, has ``cleaner`` take out what must not be written, writes and counts. It is
    a process of its own after ``fork``, which takes no time from the proxy, and a thread after
    ``start``. When the queue is full or the file cannot be written, exchanges are dropped and
    counted, and traffic goes on; one that cannot be cleaned is dropped too.
    """

    def __init__(
        self,
        open_writer: Callable[[], Writer],
        *,
        note: Callable[[str], None],
        chooser: Chooser | None = None,
        cleaner: Cleaner | None = None,
        queue_bytes: int = QUEUE_BYTES,
    ) -> None:
        self.cut_by = ""
        """Why the recording is not whole, in one sentence."""
        self.queue_limit_bytes = queue_bytes
        self._note = note
        self._ring = Ring(queue_bytes)
        self._put = self._ring.put
        self._tally = Tally()
        self._line, theirs = Pipe()
        self._theirs: Connection = theirs
        self._scribe = Scribe(
            ring=self._ring,
            tally=self._tally,
            line=theirs,
            open_writer=open_writer,
            chooser=chooser,
            cleaner=cleaner,
        )
        self._pack = msgpack.Packer(unicode_errors=UNICODE_ERRORS).pack
        self._seen_cell = self._tally.cell(Count.SEEN)
        self._spare_bytes = min(_SPARE_BYTES, queue_bytes // _SPARE)
        self._seen = 0
        self._dead = False
        self._behind = False
        self._discarded = False
        self._parts: tuple[Path, ...] = ()
        self._process: int | None = None
        self._on_full: Callable[[], object] | None = None
        self._full = False
        self._drained = threading.Event()
        self._ended = threading.Event()
        self._ending: Ending | None = None

    def start(self) -> None:
        """
        Opens the capture and writes it in a thread, for a process that is not ours to fork.

        Raises:
            UsageError: a file exists already or its folder does not.
            WriteError: it cannot be created.

        """
        threading.Thread(target=self._scribe.run, name="capture-writer", daemon=True).start()
        self._await_open()

    def fork(self, *, release: Callable[[], object]) -> None:
        """
        As ``start``, in a process of its own; to be called before there is any other thread.

        ``release`` is called in that process first: it closes what only the proxy may hold open.
        """
        # A collection writes to every object it looks at, and so would copy all that the two share.
        gc.freeze()
        self._process = os.fork()
        if self._process == 0:
            status = 1
            try:
                # Signals reach the whole group. The proxy alone decides what they mean; when it
                # is gone, its end of the line says so.
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    signal.signal(number, signal.SIG_IGN)
                self._line.close()
                release()
                # On a busy machine traffic goes first; the queue has room for seconds of it.
                os.nice(WRITER_NICE)
                _prefer_to_be_killed()
                self._scribe.run()
                status = 0
            finally:
                os._exit(status)
        self._theirs.close()
        self._await_open()

    def when_full(self, callback: Callable[[], object]) -> None:
        """Has ``callback`` called, once and from any thread, when the size that is allowed is reached."""
        self._on_full = callback
        if self._full:
            callback()

    def saw(self) -> int:
        """Counts a request that was just seen; its seq."""
        seq = self._seen
        self._seen = self._seen_cell[0] = seq + 1
        return seq

    def drop(self) -> None:
        """Counts an exchange that will not be offered."""
        self._tally.add(Count.REFUSED)

    def _refuse(self, count: Count) -> bool:
        self._tally.add(count)
        if not (self._dead or self._behind):
            self._behind = True
            self._say(_BEHIND)
        return False

    def offer(self, row: tuple[Any, ...]) -> bool:
        """Queues an exchange's row; without room, or when nothing writes any more, it counts as dropped."""
        if not self._dead and self._put(self._pack(row), self._spare_bytes):
            return True
        return self._refuse(Count.REFUSED)

    def offer_message(self, row: tuple[Any, ...], *, ends: bool = False) -> bool:
        """Queues a message of an exchange that was taken; one that ``ends`` its stream finds room longer."""
        spare_bytes = 0 if ends else self._spare_bytes
        if not self._dead and self._put(self._pack(row), spare_bytes):
            return True
        return self._refuse(Count.MESSAGES_REFUSED)

    @property
    def queued_bytes(self) -> int:
        """What waits to be written."""
        return self._ring.queued_bytes

    def account(self, *, connections: int, in_flight: int | None = None) -> Account:
        """The account as it stands; without ``in_flight``, what has no outcome yet is that."""
        tally = self._tally
        counters = tally.counters(in_flight, cut=bool(self.cut_by))
        if self._dead and in_flight is not None:
            gone = counters.seen - counters.written - counters.sampled_out - in_flight
            counters = replace(counters, dropped=gone)
        return Account(
            counters=counters,
            connections=connections,
            messages=tally[Count.MESSAGES],
            messages_dropped=tally[Count.MESSAGES_REFUSED] + tally[Count.MESSAGES_LOST],
            withheld_names=frozenset() if self._ending is None else self._ending.withheld_names,
            withheld_uses=tally[Count.WITHHELD_USES],
            parts=self._parts,
            cut_by=self.cut_by,
        )

    def close(self, *, in_flight: int, connections: int, facts: RecorderFacts | None = None) -> Account:
        """
        Has all that is queued written, the file ended, and gives the account.

        ``in_flight`` exchanges were seen and had no outcome when the recording ended.
        """
        self._order(Close(in_flight=in_flight, facts=facts))
        before = self._tally.numbers()
        while not self._drained.wait(CLOSE_TIMEOUT_S):
            now = self._tally.numbers()
            if now == before:
                self._give_up()
                break
            before = now
        self._ended.wait()  # making the capture from a spool may take its time
        self._reap()
        return self.account(connections=connections, in_flight=in_flight)

    def discard(self) -> None:
        """Ends a recording that did not begin; nothing of it stays."""
        self._discarded = True
        self._order(Discard())
        self._ended.wait(CLOSE_TIMEOUT_S)
        self._reap()

    def _order(self, order: Close | Discard) -> None:
        with suppress(OSError):  # the other side died, which the listener tells
            self._line.send(order)

    def _await_open(self) -> None:
        try:
            kind, value = self._line.recv()
        except (EOFError, OSError):
            raise HookreelError(_DIED) from None
        if kind == "refused":
            self._reap()
            raise value
        self._parts = value
        threading.Thread(target=self._listen, name="capture-writer-notes", daemon=True).start()

    def _listen(self) -> None:
        try:
            while True:
                self._hear(*self._line.recv())
        except (EOFError, OSError):
            if self._ending is None and not self._discarded:
                self._dead = True
                self._cut(_DIED)
                self._say(f"Recording stopped, traffic still passes: {_DIED}")
        finally:
            self._drained.set()
            self._ended.set()

    def _hear(self, kind: str, value: Any) -> None:
        if kind == "note":
            self._say(value)
        elif kind == "cut":
            self._cut(value)
        elif kind == "full":
            self._full = True
            if self._on_full is not None:
                with suppress(Exception):  # whoever waited may have ended
                    self._on_full()
        elif kind == "drained":
            self._drained.set()
        else:
            self._ending = value
            self._parts = value.parts

    def _say(self, text: str) -> None:
        # A terminal may be gone, and whoever reads a pipe; the recording goes on without them.
        with suppress(Exception):
            self._note(text)

    def _cut(self, reason: str) -> None:
        self.cut_by = self.cut_by or reason

    def _give_up(self) -> None:
        self._cut(_SLOW)
        self._dead = True
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.kill(self._process, signal.SIGKILL)
        self._ended.set()

    def _reap(self) -> None:
        if self._process is None:
            return
        with suppress(ChildProcessError):  # who waits for any child may have been first
            # One that a disk holds does not even end when it is killed.
            os.waitpid(self._process, os.WNOHANG if self._dead else 0)
        self._process = None


def _prefer_to_be_killed() -> None:
    """Where memory runs out, the kernel should take the recording and not the traffic (proc(5))."""
    with suppress(OSError, ValueError):  # only Linux has it
        _OOM_SCORE.write_text(str(min(_OOM_MOST, int(_OOM_SCORE.read_text()) + _OOM_STEP)))
