"""A capture's end: what stands in it, and that its size is known before."""

from __future__ import annotations

import msgpack
from hypothesis import given
from hypothesis import strategies as st

from captures.footer import Totals, lists_bytes, pack_footer
from captures.model import Counters

NUMBERS = st.integers(0, 2**63 - 1)


@given(
    index=st.lists(NUMBERS),
    messages=st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS)),
    stream_ends=st.lists(st.tuples(NUMBERS, NUMBERS)),
    dictionaries=st.lists(st.tuples(NUMBERS, NUMBERS)),
)
def test_lists_take_no_more_than_was_said(index, messages, stream_ends, dictionaries) -> None:
    """Whatever numbers stand in them, a footer grows by no more than its lists were said to take."""
    lists = {"index": index, "messages": messages, "stream_ends": stream_ends, "dictionaries": dictionaries}
    rest = {"counters": Counters(), "facts": None, "totals": Totals()}
    footer = pack_footer(**lists, **rest)
    empty = pack_footer(**dict.fromkeys(lists, ()), **rest)
    most_bytes = lists_bytes(**{name: len(of) for name, of in lists.items()})
    # Longer lists have longer headers, and the last end may be a large number.
    assert len(footer) <= len(empty) + most_bytes + 4 * 4 + 8


def test_totals_are_those_of_all_exchanges(make_exchange) -> None:
    """The first request and the last completion count, in whatever order they come, and what was cut."""
    totals = Totals()
    for offset_ns, cut_bytes in ((50, 0), (20, 3), (90, 0)):
        totals.add(make_exchange(0, offset_ns, truncated_bytes=cut_bytes))
    totals.add(make_exchange(0, 95, status=0))
    lists = {"index": (), "messages": (), "stream_ends": ((7, 60),), "dictionaries": ()}
    footer = msgpack.unpackb(pack_footer(**lists, counters=Counters(), facts=None, totals=totals))
    assert totals.truncated == 1
    assert (footer["first_ns"], footer["last_end_ns"]) == (20, 100)
