from __future__ import annotations

import mmap
import os
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder import ring as ring_module
from recorder.ring import Ring

SIZE_BYTES = 64


def taken(ring: Ring) -> bytes:
    """All that is in the queue."""
    found = b""
    while ring.look():
        found += b"".join(ring.take())
    return found + b"".join(ring.take())


@pytest.mark.parametrize("ordered", [True, False])
@given(steps=st.lists(st.one_of(st.binary(max_size=SIZE_BYTES + 8), st.none())))
@settings(max_examples=300)
def test_what_was_put_comes_out_once_and_in_order(ordered: bool, steps: list[bytes | None]):
    """However puts and takes follow one another, the bytes are those that were taken in, and no others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ring_module, "_ORDERED", ordered)
        patch.setattr(ring_module, "PIECE_BYTES", 10)
        ring = Ring(SIZE_BYTES)
        put, got, counter = b"", b"", 0
        for step in steps:
            if step is None:
                ring.look()
                got += b"".join(ring.take())
                continue
            data = bytes((counter + at) % 251 for at in range(len(step)))
            if ring.put(data):
                put += data
                counter += len(data)
            else:
                assert len(put) - len(got) + len(data) > 0
            assert put.startswith(got)
            assert ring.queued_bytes == len(put) - len(got)
        assert got + taken(ring) == put
        assert ring.queued_bytes == 0


def test_it_holds_its_size_and_refuses_more():
    """The whole size can be used, wherever it begins; a spare part is kept when asked for."""
    ring = Ring(SIZE_BYTES)
    for _ in range(3):
        assert ring.put(b"abc")
        assert taken(ring) == b"abc"
        assert not ring.put(bytes(SIZE_BYTES), 1)
        assert ring.put(bytes(SIZE_BYTES))
        assert not ring.put(b"x")
        assert taken(ring) == bytes(SIZE_BYTES)


def test_a_queue_that_is_emptied_begins_at_its_start():
    """Short queues stay on few pages: memory does not follow all that ever passed."""
    ring = Ring(2**20)
    for _ in range(1000):
        assert ring.put(b"x" * 5000)
        taken(ring)
    assert bytes(ring._bytes[5000:10000]) == bytes(5000)


def test_memory_of_what_was_taken_is_given_back():
    """A queue that is never empty goes round through all its room, and still holds only what waits."""
    page = mmap.PAGESIZE
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ring_module, "KEPT_BYTES", page)
        ring = Ring(16 * page)
        rows = [bytes([number % 251 + 1]) * 3 * page for number in range(100)]
        assert ring.put(rows[0])
        found = b""
        for row in rows[1:]:
            ring.look()
            assert ring.put(row)  # after the look, so that there is always one that waits
            found += b"".join(ring.take())
        assert found + taken(ring) == b"".join(rows)
    held = [at for at in range(16) if any(ring._bytes[at * page : (at + 1) * page])]
    assert 0 in held
    if sys.platform == "linux":
        assert len(held) < 16


@given(steps=st.lists(st.one_of(st.integers(1, 9 * mmap.PAGESIZE), st.none()), max_size=30))
@settings(max_examples=100)
def test_what_waits_is_not_given_back(steps: list[int | None]):
    """Whatever is taken when, pages that hold bytes nobody took yet stay as they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ring_module, "KEPT_BYTES", 0)
        patch.setattr(ring_module, "PIECE_BYTES", 5000)
        ring = Ring(8 * mmap.PAGESIZE)
        put = got = b""
        for number, size in enumerate(steps):
            if size is None:
                ring.look()
                got += next(iter(ring.take()), b"")
            elif ring.put(data := bytes([number % 255 + 1]) * size):
                put += data
            assert put.startswith(got)
        assert got + taken(ring) == put


def test_two_threads_share_it():
    """One puts as fast as there is room, the other takes, and nothing is lost or doubled."""
    ring = Ring(1000)
    rows = [bytes([number % 251]) * (number % 97) for number in range(5000)]

    def put_all() -> None:
        for row in rows:
            while not ring.put(row):
                pass

    thread = threading.Thread(target=put_all)
    thread.start()
    found = b""
    while thread.is_alive() or ring.queued_bytes:
        ring.look()
        found += b"".join(ring.take())
    thread.join()
    assert found + taken(ring) == b"".join(rows)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # threads of other tests
def test_what_a_killed_process_put_is_there():
    """The memory outlives who wrote to it."""
    ring = Ring(1000)
    child = os.fork()
    if child == 0:
        ring.put(b"the last words")
        os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    assert taken(ring) == b"the last words"
