"""The soft limit of open files goes up to the hard one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 200))
from captures.limits import raise_file_limit
raise_file_limit()
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_the_soft_limit_becomes_the_hard_one() -> None:
    """A process that was started with 40 descriptors of 200 may have 200."""
    told = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert told.stdout == "(200, 200)\n"
