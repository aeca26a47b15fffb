"""Commands that a review runs."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading

import pytest

from captures.errors import HookreelError, UsageError
from replayer.review.children import await_connections, run_command, terminated_as_interrupted
from replayer.targets import Target


def _python(code):
    return [sys.executable, "-c", code]


def test_a_command_gives_its_code_and_what_it_said(tmp_path):
    """Standard output whole, of standard error the last line."""
    code = "import sys; print('out'); print('one\\ntwo', file=sys.stderr); sys.exit(7)"
    assert run_command(_python(code)) == (7, "out\n", "two")
    log = tmp_path / "log"
    for _ in range(2):
        assert run_command(_python(code), log) == (7, "", "it said nothing")
    assert log.read_text().count("two") == 2
    assert log.stat().st_mode & 0o777 == 0o600


def test_no_shell_reads_a_command():
    """What a shell would expand arrives as it is."""
    assert (
        run_command([*_python("import sys; print(sys.argv[1:])"), "$(id) ; *", "a b"])[1]
        == "['$(id) ; *', 'a b']\n"
    )


def test_an_unknown_command_is_a_mistake_of_the_user():
    """It is named."""
    with pytest.raises(UsageError, match="hookreel-no-such-command"):
        run_command(["hookreel-no-such-command"])


def test_an_interrupted_command_is_ended_with_all_it_started(tmp_path):
    """Ctrl-C, here as SIGTERM, reaches the command, which may end in good order."""
    ready, done = tmp_path / "ready", tmp_path / "done"
    os.mkfifo(ready)
    child = (
        "import signal, sys, pathlib\n"
        f"def stop(*_): pathlib.Path({str(done)!r}).write_text('in good order'); sys.exit(0)\n"
        "signal.signal(signal.SIGINT, stop)\n"
        f"pathlib.Path({str(ready)!r}).write_text('ready')\n"
        "signal.pause()\n"
    )

    def terminate():
        ready.read_text()  # until the child is there
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=terminate)
    thread.start()
    with pytest.raises(KeyboardInterrupt), terminated_as_interrupted():
        run_command(_python(child))
    thread.join()
    assert done.read_text() == "in good order"
    assert signal.getsignal(signal.SIGTERM) is not signal.default_int_handler


def test_a_second_interruption_kills_what_does_not_end(tmp_path):
    """Who presses Ctrl-C again waits no longer, and the command does not live on."""
    said = tmp_path / "said"
    os.mkfifo(said)
    child = (
        "import os, signal, sys\n"
        f"said = open({str(said)!r}, 'w')\n"
        "def stay(*_): print('staying', file=said, flush=True)\n"
        "signal.signal(signal.SIGINT, stay)\n"
        "print(os.getpid(), file=said, flush=True)\n"
        "while True: signal.pause()\n"
    )
    heard = []

    def press_twice():
        with said.open() as lines:
            heard.append(int(lines.readline()))
            os.kill(os.getpid(), signal.SIGTERM)
            heard.append(lines.readline())  # the first reached the command, which stays
            os.kill(os.getpid(), signal.SIGTERM)
            heard.append(lines.readline())  # empty once the command is gone

    thread = threading.Thread(target=press_twice, daemon=True)
    thread.start()
    with pytest.raises(KeyboardInterrupt), terminated_as_interrupted():
        run_command(_python(child))
    with pytest.raises(ProcessLookupError):
        os.kill(heard[0], signal.SIGKILL)
    thread.join()
    assert heard[1:] == ["staying\n", ""]


def test_a_target_is_waited_for(tmp_path):
    """Refused first and accepted then; nobody waits for ever."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    port = server.getsockname()[1]
    target = Target(scheme="http", host="127.0.0.1", port=port, addresses=("127.0.0.1",))
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 3:
            server.listen()

    await_connections(target, sleep=sleep)
    assert len(waits) == 3
    server.close()
    times = iter(range(0, 1_000, 40))
    with pytest.raises(HookreelError, match="accepted no connection"):
        await_connections(target, sleep=lambda _seconds: None, clock_s=lambda: next(times))
