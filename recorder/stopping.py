"""How a recording ends: asked once it drains, asked again it stops at once."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable

from captures.text import counted

HURRIED_EXIT = 130  # as a shell reports a process that SIGINT ended


class Stopping:
    """
    The two stages of one recording's end.

    ``asked``: nothing new is accepted, requests on their way get some time. ``hurried``: they get
    no more. Either way the capture is closed and the account is given.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurried = asyncio.Event()
        self._signalled = False

    def listen(self) -> None:
        """
        SIGINT, SIGTERM and SIGHUP count from now on, in the running event loop of the main thread.

        A terminal that is closed sends SIGHUP; who started this with nohup wants it to go on.
        """
        if threading.current_thread() is threading.main_thread():
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                    loop.add_signal_handler(number, self.on_signal)

    def on_signal(self) -> None:
        """Takes one signal; the second one hurries."""
        # A full capture asks too, and may do so just before the user's first signal.
        if self._signalled:
            self.hurried.set()
        self._signalled = True
        self.asked.set()

    def tell(self, note: Callable[[str], None], waiting: int, limit_s: float) -> None:
        """Says what is waited for, if anything is: ``waiting`` requests for ``limit_s`` at most."""
        if waiting:
            again = "; Ctrl-C again stops now." if self._signalled else "."
            note(f"Waiting up to {limit_s:g} s for {counted(waiting, 'request')}{again}")
