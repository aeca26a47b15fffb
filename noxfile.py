"""The suite on every Python this machine really has; `nox` alone takes the newest one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
TOGETHER = ("--numprocesses", "auto", "--maxprocesses", "4", "--dist", "worksteal")
NEWEST_FIRST = ("3.13", "3.12", "3.11")


def _runs(python: str, version: str) -> bool:
    """Whether ``python`` starts and is that version; a shim may stand on the PATH and not run."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        result = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:
        return False
    return result.returncode == 0 and result.stdout.strip() == version


def find_python(version: str) -> str | None:
    """An interpreter of that version: on the PATH, or one that pyenv holds."""
    candidates = [shutil.which(f"python{version}")]
    pyenv = shutil.which("pyenv")
    if pyenv:
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603
        candidates += sorted(map(str, Path(root, "versions").glob(f"{version}.*/bin/python")), reverse=True)
    return next((path for path in candidates if path and _runs(path, version)), None)


FOUND = {version: path for version in NEWEST_FIRST if (path := find_python(version))}


def _suite(session: nox.Session) -> None:
    session.install("--quiet", "--upgrade", "pip>=25.1")
    session.install("--quiet", "--editable", ".", "--group", "dev")
    session.run("python", "-m", "pytest", "-m", "not alone", *TOGETHER, *session.posargs)
    session.run("python", "-m", "pytest", "-m", "alone", *session.posargs)


@nox.session(python=list(FOUND.values())[:1] or False)
def tests(session: nox.Session) -> None:
    """Run the suite on the newest Python there is."""
    _suite(session)


@nox.session(python=list(FOUND.values())[1:] or False, default=False)
def older(session: nox.Session) -> None:
    """Run the suite on every other Python there is."""
    _suite(session)
