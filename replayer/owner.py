"""What an HTTP/1.1 connection tells whoever owns it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from replayer.heads import KnownHeads
from replayer.streams import Events, Socket

if TYPE_CHECKING:
    from replayer.connection import Connection
    from replayer.intake import Intake


class Owner(Protocol):
    """
    Who decides what a connection does next; ``pump`` sends what is due, ``heads`` is shared by all.

    ``intake`` reads the connections that are plain; None leaves that to the event loop.
    """

    next_due_ns: int
    heads: KnownHeads
    intake: Intake | None

    def made(self, connection: Connection) -> None:
        """The connection stands."""

    def released(self, connection: Connection) -> None:
        """A response came and the connection can take another request."""

    def lost(self, connection: Connection) -> None:
        """The connection is gone."""

    def answered(self, row: int, head: bytes, body: bytes) -> None:
        """The whole response to an exchange of which that is wanted."""

    def opened(
        self, connection: Connection, head: bytes, length_ns: int | None, *, socket: bool
    ) -> Socket | Events | None:
        """A stream stands on the connection: who listens to it, if anybody does."""

    def pump(self) -> None:
        """Send everything that is due."""
