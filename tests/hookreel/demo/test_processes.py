from __future__ import annotations

import os
import select
import shutil
import sys

import pytest

from captures.errors import HookreelError
from hookreel.demo.processes import Children, hookreel_command, module_command, shown_command


def python(code: str) -> list[str]:
    return [sys.executable, "-P", "-c", code]


def test_a_command_runs_to_its_end(tmp_path):
    """Exit code and both outputs are kept apart."""
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    with Children(tmp_path) as children:
        finished = children.run(python(code))
    assert (finished.exit_code, finished.stdout, finished.stderr) == (3, "out\n", "err\n")


def test_children_import_this_hookreel_from_anywhere(tmp_path, monkeypatch):
    """A child finds the same package in any working directory, and no module that lies there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "captures.py").write_text("raise SystemExit(9)")
    with Children(tmp_path) as children:
        assert children.run(hookreel_command("--version")).exit_code == 0


def test_what_a_child_announces_is_read_while_it_runs(tmp_path):
    """The first line is read as soon as it is there, and Ctrl-C ends the child."""
    code = (
        "import time\n"
        "try: print('listens on http://x:1', flush=True); time.sleep(60)\n"
        "except KeyboardInterrupt: print('bye')"
    )
    with Children(tmp_path) as children:
        child = children.start(python(code))
        assert child.wait_for(r"(http://\S+)") == "http://x:1"
        finished = child.interrupt()
    assert (finished.exit_code, finished.stdout) == (0, "bye\n")


def test_a_child_that_does_not_start_says_why(tmp_path):
    """The error quotes the last line the child wrote."""
    code = "import sys; print('first\\nport is taken', file=sys.stderr); sys.exit(1)"
    with Children(tmp_path) as children, pytest.raises(HookreelError, match="did not start: port is taken"):
        children.start(python(code)).wait_for("(.*ready.*)")


def test_no_process_is_left_behind(tmp_path):
    """When the story fails, a child that ignores signals and its own child are gone too."""
    code = (
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "sub = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(f'pids {os.getpid()}-{sub.pid}', flush=True)\n"
        "time.sleep(60)\n"
    )
    ends: list[int] = []

    def story() -> None:
        with Children(tmp_path) as children:
            pids = children.start(python(code)).wait_for(r"pids (\S+)")
            ends.extend(os.pidfd_open(int(pid)) for pid in pids.split("-"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        story()
    for end in ends:  # readable once the process is gone
        assert select.select([end], [], [], 10)[0] == [end]
        os.close(end)


def test_a_command_that_hangs_is_ended(tmp_path):
    """A command that takes too long is killed and reported."""
    with Children(tmp_path) as children, pytest.raises(HookreelError, match="did not end within"):
        children.run(python("import time; time.sleep(60)"), timeout_s=0.3)


def test_a_shown_command_can_be_copied(monkeypatch):
    """The command is named hookreel when it is on PATH, and by its Python otherwise."""
    monkeypatch.setattr(shutil, "which", lambda _name: "/usr/bin/hookreel")
    assert shown_command(hookreel_command("info", "a file.reel")) == "hookreel info 'a file.reel'"
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert shown_command(hookreel_command("info", "x.reel")).endswith(" -m hookreel info x.reel")
    assert "-P" not in shown_command(module_command("hookreel.demo.target"))
