"""mitmproxy's hooks: they note what passes, and change nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from mitmproxy import http, tls
from mitmproxy.connection import Client
from mitmproxy.proxy.mode_specs import ReverseMode
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from recorder import convert
from recorder.facts import TlsTally, tls_of
from recorder.tracking import ExchangeSink, Tracker

_NOTES = 100  # different ones; a forward proxy's clients choose the hosts that these name


class RecorderAddon:
    """
    Records what passes one mitmproxy instance.

    Offsets are ``clock_ns()`` minus ``started_ns``. ``note`` takes sentences for the user. An
    error in here never reaches a request: the exchange is counted as dropped and the user is
    told once. It works in any mitmproxy instance, beside other addons.
    """

    name = "hookreel-recorder"

    def __init__(
        self,
        sink: ExchangeSink,
        *,
        clock_ns: Callable[[], int],
        started_ns: int,
        max_body_bytes: int,
        note: Callable[[str], None],
    ) -> None:
        self._tracker = Tracker(
            sink,
            clock_ns=clock_ns,
            started_ns=started_ns,
            max_body_bytes=max_body_bytes,
            broke=self._tell,
        )
        self.tls = TlsTally()
        """The TLS connections that were made."""
        self._note = note
        self._noted: set[str] = set()
        self._connect_errors: dict[str, str] = {}
        self._broken_clients: set[str] = set()

    @property
    def connections(self) -> int:
        """Client connections that carried a request."""
        return self._tracker.connections

    @property
    def in_flight(self) -> int:
        """Exchanges that were seen and have no outcome yet."""
        return len(self._tracker.waiting())

    def busy_clients(self) -> tuple[set[str], set[str]]:
        """Ids of the client connections that wait for an outcome, and of those that carry a stream."""
        waiting = {exchange.flow.client_conn.id for exchange in self._tracker.waiting()}
        streaming = {exchange.flow.client_conn.id for exchange in self._tracker.streaming()}
        return waiting, streaming - waiting

    def end(self) -> int:
        """Ends the recording: nothing that happens later counts. How many exchanges are in flight."""
        return self._tracker.end()

    def proxy_broke(self, client_id: str) -> None:
        """The proxy's protocol code failed on this client connection, which will be closed."""
        self._broken_clients.add(client_id)

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """A request's head was read: the exchange begins."""
        try:
            self._tracker.begin(flow, reverse=isinstance(flow.client_conn.proxy_mode, ReverseMode))
        except Exception as error:  # noqa: BLE001 - recording never breaks traffic
            self._broke(flow, error)

    def request(self, flow: http.HTTPFlow) -> None:
        """A request is whole."""
        try:
            self._tracker.request_done(flow)
        except Exception as error:  # noqa: BLE001 - recording never breaks traffic
            self._broke(flow, error)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """A response's head was read."""
        try:
            self._tracker.response_begins(flow)
        except Exception as error:  # noqa: BLE001 - recording never breaks traffic
            self._broke(flow, error)

    def response(self, flow: http.HTTPFlow) -> None:
        """A response is whole, or its connection becomes a WebSocket."""
        try:
            self._tracker.response_done(flow)
        except Exception as error:  # noqa: BLE001 - recording never breaks traffic
            self._broke(flow, error)

    def error(self, flow: http.HTTPFlow) -> None:
        """A request gets no whole response."""
        client_id = flow.client_conn.id
        try:
            if client_id in self._broken_clients:
                self._tracker.settle(flow.id, broken=True)
            else:
                self._tracker.failed(flow, connect_error=self._connect_errors.get(client_id))
        except Exception as error:  # noqa: BLE001 - recording never breaks traffic
            self._broke(flow, error)

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        """A whole WebSocket message passes."""
        try:
            self._tracker.websocket_message(flow)
        except Exception as error:  # noqa: BLE001 - recording never breaks traffic
            self._broke(flow, error)

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        """A WebSocket was closed."""
        try:
            self._tracker.stream_done(flow.id)
        except Exception as error:  # noqa: BLE001 - recording never breaks traffic
            self._broke(flow, error)

    def client_disconnected(self, client: Client) -> None:
        """
        A client went away: what it left open is settled.

        Usually nothing is; but when mitmproxy's own protocol code breaks neither ``response`` nor
        ``error`` is called.
        """
        for flow_id in self._tracker.open_of(client.id):
            try:
                self._tracker.settle(flow_id, broken=client.id in self._broken_clients)
            except Exception as error:  # noqa: BLE001 - recording never breaks traffic
                self._tracker.abandon(flow_id)
                self._tell(error)
        self._tracker.forget_connection(client.id)
        self._connect_errors.pop(client.id, None)
        self._broken_clients.discard(client.id)

    def server_connect_error(self, data: ServerConnectionHookData) -> None:
        """The upstream could not be reached."""
        if data.server.error:
            self._connect_errors[data.client.id] = data.server.error
            host, port = data.server.address or ("", 0)[:2]
            self._note_once(
                f"{host}:{port} could not be reached ({convert.connect_detail(data.server.error)}); "
                "clients get 502 and the exchanges are recorded as failed."
            )

    def tls_established_client(self, data: tls.TlsData) -> None:
        """TLS with a client."""
        self.tls.client[tls_of(data.conn)] += 1

    def tls_established_server(self, data: tls.TlsData) -> None:
        """TLS with an upstream."""
        self.tls.server[tls_of(data.conn)] += 1

    def tls_failed_server(self, data: tls.TlsData) -> None:
        """No TLS with the upstream."""
        if data.conn.error:
            self._connect_errors[data.context.client.id] = data.conn.error
        self._note_once(
            "No TLS connection could be made with an upstream; name its CA with --upstream-ca FILE "
            "or pass --ssl-insecure."
        )

    def tls_failed_client(self, data: tls.TlsData) -> None:  # noqa: ARG002 - mitmproxy's signature
        """A client broke the TLS handshake off."""
        self._note_once(
            "A client broke off its TLS handshake; make it trust the certificate that `hookreel ca` names."
        )

    def _broke(self, flow: http.HTTPFlow, error: Exception) -> None:
        self._tracker.abandon(flow.id)
        self._tell(error)

    def _tell(self, error: Exception) -> None:
        self._note_once(
            f"An exchange could not be recorded ({type(error).__name__}) and is counted as dropped; "
            "its traffic passed."
        )

    def _note_once(self, text: str) -> None:
        if text not in self._noted and len(self._noted) < _NOTES:
            self._noted.add(text)
            with suppress(Exception):  # a terminal that is gone must not break traffic
                self._note(text)
