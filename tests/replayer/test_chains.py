"""Chains end to end: a target that mints ids, cookies and tokens takes a replay as it took the client."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from captures.model import Exchange, Request, Response, SignatureScheme, SigningRecipe
from captures.reader import CaptureReader
from replayer.chain import find_chains
from replayer.credentials import Keyring
from replayer.load import Load
from replayer.options import UseChains
from replayer.results import Outcome

Make = Callable[..., Exchange]
Serve = Callable[..., Any]
Send = Callable[..., Any]
MS = 1_000_000
SECRET = b"a signing secret"


@dataclass
class Shop:
    """
    A target with state: log in, create an order, pay it with its CSRF token, look at it.

    ``refused`` counts what it did not accept: an unknown session, order or token, a second
    payment, a wrong signature, a look before the payment.
    """

    name: bytes
    sessions: dict[bytes, set[bytes]] = field(default_factory=dict)
    paid: set[bytes] = field(default_factory=set)
    tokens: dict[bytes, bytes] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    minted: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def mint(self, prefix: bytes) -> bytes:
        self.minted += 1
        return prefix + hashlib.sha256(b"%b %d" % (self.name, self.minted)).hexdigest()[:20].encode()

    def answer(self, request: Request) -> tuple[int, tuple[tuple[bytes, bytes], ...], bytes]:
        with self.lock:
            try:
                return self._answer(request)
            except (KeyError, AssertionError) as error:
                self.refused.append(f"{request.method!r} {request.target!r} {error}")
                return 409, (), b""

    def _answer(self, request: Request) -> tuple[int, tuple[tuple[bytes, bytes], ...], bytes]:
        headers = {name.lower(): value for name, value in request.headers}
        if request.target == b"/login":
            session = self.mint(b"s")
            self.sessions[session] = set()
            return 200, ((b"Set-Cookie", b"session=%b; HttpOnly" % session),), b'{"ok":true}'
        orders = self.sessions[headers[b"cookie"].removeprefix(b"session=")]
        if request.target == b"/orders":
            digest = hmac.new(SECRET, request.body, hashlib.sha256).hexdigest().encode()
            assert headers[b"x-hub-signature-256"] == b"sha256=" + digest, "signature"
            order, token = self.mint(b"ord_"), self.mint(b"csrf")
            orders.add(order)
            self.tokens[order] = token
            return 201, ((b"Location", b"/orders/" + order),), b'{"order":{"token":"%b"},"n":7}' % token
        order, _, action = request.target.removeprefix(b"/orders/").partition(b"/")
        assert order in orders, "order of another session"
        if action == b"pay":
            assert order not in self.paid, "paid twice"
            assert json.loads(request.body)["token"].encode() == self.tokens[order], "token"
            self.paid.add(order)
            return 200, (), b"{}"
        assert order in self.paid, "looked at before it was paid"
        return 200, (), b'{"paid":true}'


def recorded(exchange: Make, customers: int = 4, orders: int = 3) -> list[Exchange]:
    """What ``customers`` did at a shop: each on a connection of its own, 1 ms an answer, 4 ms apart."""
    shop, seq, made = Shop(name=b"recorded"), 0, []
    for customer in range(customers):
        at_ns, cookie, order, token = customer * 3 * MS, b"", b"", b""
        steps = ["login", *(["create", "pay", "look"] * orders)]
        for step in steps:
            headers = ((b"Host", b"shop.test"), *(((b"Cookie", b"session=" + cookie),) if cookie else ()))
            method, target, body = b"POST", b"/login", b"{}"
            if step == "create":
                target, body = b"/orders", b'{"item": "tea", "customer": %d}' % customer
                digest = hmac.new(SECRET, body, hashlib.sha256).hexdigest().encode()
                headers = (*headers, (b"X-Hub-Signature-256", b"sha256=" + digest))
            elif step == "pay":
                target, body = b"/orders/%b/pay" % order, b'{"token": "%b", "amount": 1.10}' % token
            elif step == "look":
                method, target, body = b"GET", b"/orders/" + order, b""
            one = exchange(
                seq,
                offset_ns=at_ns,
                connection=customer,
                method=method,
                target=target,
                headers=headers,
                body=body,
            )
            status, answer_headers, answer = shop.answer(one.request)
            if step == "login":
                cookie = answer_headers[0][1].partition(b";")[0].removeprefix(b"session=")
            elif step == "create":
                order = answer_headers[0][1].removeprefix(b"/orders/")
                token = json.loads(answer)["order"]["token"].encode()
            assert isinstance(one.outcome, Response)
            outcome = replace(
                one.outcome, status=status, headers=answer_headers, body=answer, end_ns=at_ns + MS
            )
            signing = SigningRecipe(scheme=SignatureScheme.GITHUB, header=b"X-Hub-Signature-256")
            made.append(replace(one, outcome=outcome, signing=signing if step == "create" else None))
            seq, at_ns = seq + 1, at_ns + 5 * MS
    assert not shop.refused
    return sorted(made, key=lambda one: (one.offset_ns, one.seq))


@pytest.fixture
def shop(serve: Serve, answer: Any) -> tuple[Shop, str]:
    """A fresh shop and its URL."""
    fresh = Shop(name=b"fresh")

    def respond(seen: Any) -> Any:
        parsed = seen.request
        request = Request(
            method=parsed.method, scheme=b"http", authority=b"", target=parsed.target,
            http_version=b"HTTP/1.1", headers=parsed.headers, body=parsed.body,
        )  # fmt: skip
        status, headers, body = fresh.answer(request)
        lines = b"".join(b"%b: %b\r\n" % pair for pair in (*headers, (b"Content-Length", b"%d" % len(body))))
        return answer(parts=[b"HTTP/1.1 %d Fine\r\n%b\r\n" % (status, lines) + body])

    return fresh, serve(respond).url


def options(**more: Any) -> dict[str, Any]:
    return {"keyring": Keyring(by_scheme={SignatureScheme.GITHUB: SECRET}), "timeout_s": 20, **more}


def test_chains_are_found_with_their_places(exchange: Make) -> None:
    """Cookie, location and token are each traced from where they are minted to where they are taken."""
    found = find_chains(recorded(exchange), lambda one: one.request.target.split(b"/")[-1].decode()[:3])
    rules = {(rule.parent_place, rule.child_place) for rule in found.rules}
    assert rules == {
        ("cookie.session", "cookie.session"),
        ("location.-1", "path.2"),
        ("body.order.token", "body.token"),
    }
    assert len(found.links) == 36  # all but the logins
    assert not found.full


@pytest.mark.parametrize("load", [Load(), Load(multiplier=Fraction(10), copies=10, stagger_ns=50 * MS)])
def test_a_target_with_state_accepts_every_chained_request(
    shop: tuple[Shop, str], exchange: Make, send: Send, load: Load
) -> None:
    """Order, session, token and signature hold for each request, at 10x with 10 copies too."""
    target, url = shop
    replayed = send(recorded(exchange), url, load=load, **options())
    rows = replayed.run.rows
    assert target.refused == []
    assert bool((rows.status == rows.recorded_status).all())
    counts = replayed.run.header.chains
    assert (counts.chained, counts.substituted, counts.broken) == (36 * load.copies, 36 * load.copies, 0)
    assert len(target.sessions) == 4 * load.copies
    assert len(target.paid) == 12 * load.copies


def test_without_chains_the_target_refuses(shop: tuple[Shop, str], exchange: Make, send: Send) -> None:
    """The same capture with chaining off fails, as it should."""
    target, url = shop
    replayed = send(recorded(exchange), url, **options(chains=UseChains.NEVER))
    assert len(target.refused) == 36
    assert int((replayed.run.rows.status == 409).sum()) == 36
    assert replayed.run.header.chains.chained == 0


def test_a_chained_request_waits_for_its_parent_and_keeps_its_think_time(
    serve: Serve, answer: Any, exchange: Make, send: Send
) -> None:
    """It is due when the parent is done and the think time at this speed is over; the wait stands apart."""
    parent = exchange(0, offset_ns=0, connection=0, target=b"/new")
    outcome = replace(parent.outcome, body=b'{"id": "run_4f81a9c2d3e0b7"}', end_ns=2 * MS)
    child = exchange(1, offset_ns=42 * MS, connection=1, target=b"/runs/run_4f81a9c2d3e0b7")
    hold = threading.Event()

    def respond(seen: Any) -> Any:
        if seen.request.target == b"/new":
            threading.Timer(0.15, hold.set).start()
        body = b'{"id": "run_fresh00000001"}'
        parts = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body]
        return answer(parts=parts, hold=hold if seen.request.target == b"/new" else None)

    server = serve(respond)
    replayed = send([replace(parent, outcome=outcome), child], server.url, "2")
    rows, counts = replayed.run.rows, replayed.run.header.chains
    assert [one.request.target for one in server.seen] == [b"/new", b"/runs/run_fresh00000001"]
    assert rows.due_ns[1] - rows.done_ns[0] == pytest.approx(20 * MS, abs=MS)  # 40 ms of thought at 2x
    assert rows.waited_ns.tolist() == [0, rows.due_ns[1] - 21 * MS]
    assert rows.sent_ns[1] >= rows.due_ns[1]
    assert (counts.waited, counts.waited_ns) == (1, rows.waited_ns[1])


def test_a_failed_parent_breaks_the_chain_and_nothing_else(
    serve: Serve, answer: Any, exchange: Make, send: Send
) -> None:
    """The child goes out with the recorded value, counted as broken; the run ends."""
    parent = exchange(0, offset_ns=0, connection=0, target=b"/new")
    outcome = replace(parent.outcome, body=b'{"id": "run_4f81a9c2d3e0b7"}', end_ns=2 * MS)
    child = exchange(1, offset_ns=42 * MS, connection=1, target=b"/runs/run_4f81a9c2d3e0b7")
    server = serve(lambda seen: answer(parts=[], close=True) if seen.request.target == b"/new" else answer())
    replayed = send([replace(parent, outcome=outcome), child], server.url)
    assert server.seen[-1].request.target == b"/runs/run_4f81a9c2d3e0b7"
    assert replayed.run.rows.outcome.tolist() == [Outcome.RESET, Outcome.COMPLETED]
    assert replayed.run.header.chains.broken == 1
    assert any("carried a recorded value" in note for note in replayed.run.header.notes)


def test_what_the_target_mints_cannot_break_a_request(
    serve: Serve, answer: Any, exchange: Make, send: Send
) -> None:
    """
    A fresh value with a line break is escaped in a path, and never becomes a header of its own.

    A header that cannot hold it, or JSON that cannot hold its bytes, is sent as recorded: a broken chain.
    """
    parent = exchange(0, offset_ns=0, connection=0, target=b"/new")
    outcome = replace(parent.outcome, body=b'{"id": "run_4f81a9c2d3e0b7"}', end_ns=2 * MS)
    child = exchange(1, offset_ns=9 * MS, connection=1, target=b"/runs/run_4f81a9c2d3e0b7")
    headers = (*child.request.headers, (b"X-Run-Id", b"run_4f81a9c2d3e0b7"))
    plain = replace(
        child, seq=2, offset_ns=12 * MS, request=replace(child.request, target=b"/x", headers=headers)
    )
    document = replace(
        plain, seq=3, request=replace(child.request, target=b"/y", body=b'{"key": "key_9a8b7c6d5e4f3a2b1"}')
    )
    located = (*outcome.headers, (b"Location", b"/keys/key_9a8b7c6d5e4f3a2b1"))
    outcome = replace(outcome, headers=located)
    body = b'{"id": "evil\\r\\nX-Evil: 1\\r\\n0"}'
    head = b"HTTP/1.1 200 OK\r\nLocation: /keys/%%FF%%FE\r\nContent-Length: %d\r\n\r\n" % len(body)
    server = serve(lambda _: answer(parts=[head + body]))
    replayed = send([replace(parent, outcome=outcome), child, plain, document], server.url)
    asked = {one.request.target: one.request for one in server.seen}
    assert b"/runs/evil%0D%0AX-Evil%3A%201%0D%0A0" in asked
    assert all(b"x-evil" not in {name.lower() for name, _ in one.request.headers} for one in server.seen)
    assert dict(asked[b"/x"].headers)[b"X-Run-Id"] == b"run_4f81a9c2d3e0b7"
    assert asked[b"/y"].body == b'{"key": "key_9a8b7c6d5e4f3a2b1"}'
    assert replayed.run.rows.outcome.tolist() == [Outcome.COMPLETED] * 4
    assert (replayed.run.header.chains.substituted, replayed.run.header.chains.broken) == (1, 2)


def test_chained_sessions_stay_in_one_worker(
    shop: tuple[Shop, str], exchange: Make, capture: Callable[..., Path]
) -> None:
    """Connections that share a chain are one session; strangers are not."""
    from replayer.chaining import Chaining, sessions
    from replayer.schedule import build_schedule

    exchanges = recorded(exchange)
    moved = [replace(one, connection=9) if one.request.method == b"GET" else one for one in exchanges]
    with CaptureReader.open(capture(moved)) as reader:
        found = find_chains(reader.exchanges(), lambda one: one.request.target.decode())
        schedule = build_schedule(reader.index, Load())
    together = sessions(schedule, Chaining(schedule, found).pairs())
    assert len(set(together.tolist())) == 1  # connection 9 looks at everybody's orders
    assert len(set(sessions(schedule).tolist())) == 5
