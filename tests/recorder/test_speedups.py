"""The faster functions give what mitmproxy's own give."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import http
from mitmproxy.options import Options
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import NextLayer
from mitmproxy.proxy.layers import modes
from mitmproxy.test import tflow

from recorder import speedups

NAMES = st.sampled_from([b"Host", b"host", b"X-A", b"x-a", b"X-Ab", b"\xe9", b""])
FIELDS = st.lists(st.tuples(NAMES, st.binary(max_size=4)), max_size=6)
ASKED = ["host", "HOST", b"host", "x-a", "X-AB", "\udce9", "absent", b""]


@given(fields=FIELDS, more=FIELDS)
def test_headers_are_found_as_before(fields: list[tuple[bytes, bytes]], more: list[tuple[bytes, bytes]]):
    """By any case, as text or bytes, folded or each, and again after they were changed."""
    headers = http.Headers(fields)
    for current in (fields, more):
        headers.fields = tuple(current)
        for name in ASKED:
            assert speedups._get_all(headers, name) == headers.get_all(name)
            assert speedups._get(headers, name, "none") == headers.get(name, "none")
            assert speedups._contains(headers, name) == (name in headers)
            if name in headers:
                assert speedups._getitem(headers, name) == headers[name]
            else:
                with pytest.raises(KeyError):
                    speedups._getitem(headers, name)
    assert speedups._contains(headers, 5) is False


def test_what_is_found_may_be_changed():
    """A list that was given out is the caller's, and equality and state know nothing of the index."""
    headers = http.Headers([(b"A", b"1")])
    speedups._get_all(headers, "a").append("2")
    assert speedups._get_all(headers, "a") == ["1"]
    assert headers == http.Headers([(b"A", b"1")])
    assert headers.get_state() == ((b"A", b"1"),)


def test_a_fork_has_its_own_layers_and_shares_the_rest():
    """As mitmproxy's fork does."""
    context = Context(tflow.tclient_conn(), Options())
    context.layers.append(object())
    forked = speedups._fork(context)
    assert (forked.client, forked.server, forked.options) == (context.client, context.server, context.options)
    assert forked.layers == context.layers
    assert forked.layers is not context.layers


def test_a_snapshot_has_all_options():
    """By attribute, as protocol layers look at them."""
    found = speedups.OptionSnapshot(Options(http2_ping_keepalive=7))
    assert found.http2_ping_keepalive == 7
    assert set(vars(found)) == set(Options().keys())
    assert "mode" in found
    assert "proxyauth" not in found


def test_layers_that_only_waited_are_left_out_once_they_know():
    """Before the protocol is known they stay; other layers are never passed by."""
    top = modes.HttpProxy(Context(tflow.tclient_conn(), SimpleNamespace(proxy_debug=False)))
    assert speedups.innermost(top) is top
    waiting = NextLayer(top.context)
    top._handle_event = waiting.handle_event
    assert speedups.innermost(top) is top
    waiting.layer = chosen = object()
    assert speedups.innermost(top) is chosen
    assert speedups.innermost(chosen) is chosen
    waiting._paused = object()
    assert speedups.innermost(top) is top


def test_an_unknown_mitmproxy_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch):
    """On a version that was not tested nothing is replaced."""
    monkeypatch.setattr(speedups, "version_is_tested", lambda: False)
    before = http.Headers.get_all
    assert speedups.install() is False
    assert http.Headers.get_all is before
