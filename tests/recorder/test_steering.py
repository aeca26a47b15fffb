from __future__ import annotations

from collections.abc import Callable

import pytest
from mitmproxy.options import Options
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.test import tflow
from mitmproxy.tls import TlsData

from captures.model import Failure, FailureReason
from recorder.modes import Routes, parse_listen, parse_modes, parse_routes
from recorder.steering import SteeringAddon
from tests.recorder.support import RawClient, RawServer, Recorder, header_values, read_capture

REVERSE = parse_modes(["reverse:http://default:80"], parse_listen("127.0.0.1:0"))


def connecting(mode: str, address: tuple[str, int]) -> ServerConnectionHookData:
    client = tflow.tclient_conn()
    client.proxy_mode = ProxyMode.parse(mode)
    server = tflow.tserver_conn()
    server.address, server.sni, server.error = address, None, None
    return ServerConnectionHookData(server, client)


@pytest.mark.parametrize(("mode", "sni"), [("reverse:https://upstream", "upstream"), ("regular", None)])
def test_the_upstream_is_named_in_tls_by_its_own_name(mode: str, sni: str | None):
    """In reverse mode the TLS name is the upstream's, in forward mode it is left to mitmproxy."""
    data = connecting(mode, ("upstream", 443))
    SteeringAddon(routes=Routes()).server_connect(data)
    assert (data.server.sni, data.server.error) == (sni, None)


@pytest.mark.parametrize(
    ("speaks", "offered", "preset", "expected"),
    [
        (b"h2", (b"http/1.1", b"h2"), (), (b"h2", b"http/1.1")),
        (b"h2", (), (), (b"h2", b"http/1.1")),
        (b"http/1.1", (b"h2", b"http/1.1"), (), (b"http/1.1",)),
        (None, (b"h2",), (), (b"http/1.1",)),
        (b"http/1.1", (b"http/1.1",), (), ()),
        (None, (), (), ()),
        (b"h2", (b"h2",), (b"http/1.1",), (b"http/1.1",)),
    ],
)
def test_an_upstream_is_offered_the_clients_version_first(
    speaks: bytes | None, offered: tuple[bytes, ...], preset: tuple[bytes, ...], expected: tuple[bytes, ...]
):
    """HTTP/2 comes first for clients that speak it, and not at all for others; a proxy's offer is kept."""
    client, server = tflow.tclient_conn(), tflow.tserver_conn()
    client.alpn, client.alpn_offers, server.alpn_offers = speaks, offered, preset
    context = Context(client, Options())
    SteeringAddon(routes=Routes()).tls_start_server(TlsData(server, context))
    assert tuple(server.alpn_offers) == expected


@pytest.mark.parametrize(
    ("address", "refused"),
    [
        (("127.0.0.1", 8080), True),
        (("localhost", 8080), True),
        (("10.0.0.5", 8080), True),
        (("10.0.0.6", 8080), False),
        (("127.0.0.1", 8081), False),
    ],
)
def test_the_recorder_never_calls_itself(address: tuple[str, int], refused: bool):
    """A request for one of the recorder's own addresses would go round for ever."""
    data = connecting("regular", address)
    SteeringAddon(routes=Routes(), own_addresses={("10.0.0.5", 8080)}).server_connect(data)
    assert bool(data.server.error) is refused


def test_a_route_changes_the_upstream_and_nothing_of_the_request():
    """Host header and target stay; forward proxies have no routes."""
    steering = SteeringAddon(routes=parse_routes(["/api=https://api.test:444"], REVERSE))
    for mode, expected in (("reverse:http://default:80", ("api.test", 444, "https")), ("regular", None)):
        flow = tflow.tflow()
        flow.client_conn.proxy_mode = ProxyMode.parse(mode)
        flow.request.path = "/api/x?y=1"
        before = (flow.request.host, flow.request.port, flow.request.scheme)
        headers = flow.request.headers.fields
        steering.requestheaders(flow)
        assert (flow.request.host, flow.request.port, flow.request.scheme) == (expected or before)
        assert (flow.request.headers.fields, flow.request.path) == (headers, "/api/x?y=1")


def test_one_address_for_several_upstreams(
    start_recorder: Callable[..., Recorder], start_server: Callable[..., RawServer]
):
    """On one keep-alive connection each request goes where its host or path leads, and all are recorded."""
    default, api, shop = (start_server() for _ in range(3))
    recorder = start_recorder(
        default.port,
        *("--route", f"/api=http://127.0.0.1:{api.port}"),
        *("--route", f"shop.example=http://localhost:{shop.port}"),
    )
    wanted = [("/", "h"), ("/api/a", "h"), ("/b", "shop.example"), ("/api/c", "shop.example"), ("/apis", "h")]
    with RawClient(recorder.port) as client:
        for target, host in wanted:
            call = f"POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n\r\nhi"
            assert client.call(call.encode()).status == 200
        large = b"x" * 400_000  # this one is streamed
        client.call(b"POST /api/large HTTP/1.1\r\nHost: h\r\nContent-Length: 400000\r\n\r\n" + large)
    assert recorder.stop() == 0
    assert [seen.target for seen in default.seen] == ["/", "/apis"]
    assert [seen.target for seen in api.seen] == ["/api/a", "/api/large"]
    assert [seen.target for seen in shop.seen] == ["/b", "/api/c"]
    assert header_values(shop.seen[0].head, b"host") == [b"shop.example"]
    capture = read_capture(recorder.output)
    assert [item.request.target.decode() for item in capture.exchanges] == [
        *(target for target, _ in wanted),
        "/api/large",
    ]
    assert {item.connection for item in capture.exchanges} == {0}
    assert capture.exchanges[2].request.authority == b"shop.example"


def test_a_request_for_the_recorder_itself_is_a_failure(start_recorder: Callable[..., Recorder]):
    """In regular mode a client may ask for the proxy's own address; it gets an error, not a loop."""
    recorder = start_recorder("regular")
    with RawClient(recorder.port) as client:
        url = f"http://127.0.0.1:{recorder.port}/loop"
        assert client.call(f"GET {url} HTTP/1.1\r\nHost: h\r\n\r\n".encode()).status == 502
    assert recorder.stop() == 0
    (exchange,) = read_capture(recorder.output).exchanges
    assert isinstance(exchange.outcome, Failure)
    assert exchange.outcome.reason is FailureReason.UPSTREAM_UNREACHABLE
