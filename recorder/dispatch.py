"""
mitmproxy's hooks called directly, without a task and a walk over every addon for each.

Stock mitmproxy spends about half its time there. On a version of mitmproxy that this was not
tested with, the stock connection handler is used instead.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import fields
from time import monotonic_ns
from typing import Any, TypeAlias

from mitmproxy import addonmanager
from mitmproxy.addonmanager import AddonManager
from mitmproxy.exceptions import AddonHalt
from mitmproxy.flow import Flow
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.mode_servers import ProxyConnectionHandler
from mitmproxy.proxy.server import ConnectionIO

from recorder.latency import LatencyHistogram
from recorder.speedups import innermost

Hook: TypeAlias = Callable[..., Any]
_logger = logging.getLogger(__name__)
_HANDLER: Any = ProxyConnectionHandler  # mitmproxy leaves some of its functions untyped
_TRAVERSE: Any = addonmanager.traverse
_ENDS = frozenset({"request", "response"})
_ADDED = "hookreel.added_ns"
_ARGUMENT: dict[type, str] = {}
_TASKS: set[asyncio.Task[None]] = set()  # a loop keeps no reference to its tasks


class HookTable:
    """
    Which functions of the loaded addons a hook calls, looked up once for each hook.

    ``of`` gives None for a hook with an async function, which needs a task of its own. The
    table is made anew when an addon came or went.
    """

    def __init__(self, manager: AddonManager) -> None:
        self._manager: Any = manager
        self._functions: dict[str, tuple[Hook, ...] | None] = {}
        self._addons = -1

    def of(self, name: str) -> tuple[Hook, ...] | None:
        """The functions for the hook ``name``, in the addons' order."""
        if len(self._manager.lookup) != self._addons:
            self._functions.clear()
            self._addons = len(self._manager.lookup)
        try:
            return self._functions[name]
        except KeyError:
            found = self._functions[name] = self._find(name)
            return found

    def _find(self, name: str) -> tuple[Hook, ...] | None:
        functions = [getattr(addon, name, None) for addon in _TRAVERSE(self._manager.chain)]
        hooks = tuple(function for function in functions if callable(function))
        return None if any(inspect.iscoroutinefunction(hook) for hook in hooks) else hooks


class LeanConnectionHandler(_HANDLER):  # type: ignore[misc]
    """
    One client connection and its upstream connections.

    Differs from mitmproxy's handler in this: a hook whose functions are plain ones is called
    where it is raised, and its completion is handled next, instead of in a task of its own. The
    order of events stays the same. ``added`` takes how long the proxy worked on each exchange.
    """

    hooks: HookTable
    added: LatencyHistogram
    layer: Any

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._unwritten: list[tuple[Any, bytes]] = []

    async def server_event(self, event: events.Event) -> None:
        """Runs the protocol layers on one event, and what follows from it."""
        # As in the stock handler: tasks that start eagerly may come back in here.
        async with self._server_event_lock:
            began_ns = monotonic_ns()
            self.timeout_watchdog.register_activity()
            pending: deque[events.Event] = deque((event,))
            touched: list[tuple[str, Flow]] = []
            try:
                while pending:
                    for command in self.layer.handle_event(pending.popleft()):
                        if isinstance(command, commands.StartHook):
                            self._start_hook(command, pending, touched)
                        else:
                            self._obey(command)
            except Exception:  # noqa: BLE001 - as in the stock handler
                self.log("mitmproxy has crashed!", logging.ERROR, exc_info=True)
            self._write_out()
            if touched:
                self.layer = innermost(self.layer)
                note_added(self.added, touched, monotonic_ns() - began_ns)

    async def handle_hook(self, hook: commands.StartHook) -> None:
        """Calls a hook that no layer waits for."""
        functions = self.hooks.of(hook.name)
        if functions is None:
            await super().handle_hook(hook)
        else:
            call(functions, hook)

    def _start_hook(
        self, hook: commands.StartHook, pending: deque[events.Event], touched: list[tuple[str, Flow]]
    ) -> None:
        functions = self.hooks.of(hook.name)
        if functions is None:
            task = asyncio.get_running_loop().create_task(self.hook_task(hook))
            _TASKS.add(task)
            task.add_done_callback(_TASKS.discard)
            return
        call(functions, hook)
        if hook.name in _ENDS:
            touched.append((hook.name, hook.flow))  # type: ignore[attr-defined]
        if hook.blocking:
            pending.append(events.HookCompleted(hook))

    def _obey(self, command: commands.Command) -> None:
        if isinstance(command, commands.OpenConnection):
            self._open(command)
        elif isinstance(command, commands.RequestWakeup):
            self._wake_later(command)
        elif isinstance(command, commands.ConnectionCommand):
            link = self.transports.get(command.connection)
            if link is None:
                return  # the connection has been closed already
            if isinstance(command, commands.SendData):
                self._unwritten.append((link, command.data))
            elif isinstance(command, commands.CloseTcpConnection):
                self._write_out()
                self.close_connection(command.connection, command.half_close)
            elif isinstance(command, commands.CloseConnection):
                self._write_out()
                self.close_connection(command.connection, False)
            else:
                raise TypeError(f"unexpected command: {type(command).__name__}")
        elif isinstance(command, commands.Log):
            if _logger.isEnabledFor(command.level):
                self.log(command.message, command.level)
        else:
            raise TypeError(f"unexpected command: {type(command).__name__}")

    def _write_out(self) -> None:
        """Head and body of a message come as two commands and go out as one packet."""
        unwritten, self._unwritten = self._unwritten, []
        while unwritten:
            link = unwritten[0][0]
            same = [data for owner, data in unwritten if owner is link]
            unwritten = [item for item in unwritten if item[0] is not link]
            if not link.writer.is_closing():
                link.writer.write(same[0] if len(same) == 1 else b"".join(same))

    def _open(self, command: commands.OpenConnection) -> None:
        task = asyncio.get_running_loop().create_task(self.open_connection(command))
        # An eager task may have got as far as a live connection by now.
        if command.connection not in self.transports:
            self.transports[command.connection] = ConnectionIO(handler=task)

    def _wake_later(self, command: commands.RequestWakeup) -> None:
        self.wakeup_timer.add(asyncio.get_running_loop().create_task(self.wakeup(command)))


def call(functions: tuple[Hook, ...], hook: commands.StartHook) -> None:
    """Calls one hook's functions; an error in one is logged and stops neither others nor traffic."""
    if not functions:
        return
    name = _ARGUMENT.get(type(hook))
    if name is None:  # hook.args() finds it anew each time; every hook has one argument
        (item,) = fields(hook)  # type: ignore[arg-type]
        name = _ARGUMENT[type(hook)] = item.name
    argument = getattr(hook, name)
    for function in functions:
        try:
            function(argument)
        except AddonHalt:
            return
        except Exception:
            _logger.exception("An addon failed.")


def note_added(added: LatencyHistogram, touched: Iterable[tuple[str, Flow]], elapsed_ns: int) -> None:
    """
    ``elapsed_ns`` went by on an event that ended these flows' requests and responses.

    What the proxy adds to an exchange is the time from taking the bytes that end its request
    until what follows from them is done (they are on their way to the upstream), and the same
    for its response. Not in it: the time bytes wait in a socket while the proxy is busy with
    others, and making the upstream connection.
    """
    request_ns = 0
    for name, flow in touched:
        if name == "request":
            flow.metadata[_ADDED] = request_ns = elapsed_ns
        else:
            # Both in one event (an answer of our own) are one stretch of time.
            added.add(elapsed_ns if request_ns else flow.metadata.get(_ADDED, 0) + elapsed_ns)
