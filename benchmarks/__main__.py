"""
``python -m benchmarks``: every benchmark and campaign, one after the other.

``python -m benchmarks --list`` names them; ``python -m benchmarks NAME`` runs one with its
defaults. Each prints its own table; benchmarks/RESULTS.md keeps figures with command and machine.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The modules of this folder that can be run."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


def main() -> int:
    """Run what was named, or everything."""
    arguments = sys.argv[1:]
    if arguments == ["--list"]:
        print("\n".join(names()))
        return 0
    unknown = sorted(set(arguments) - set(names()))
    if unknown:
        print(f"There is no benchmark {unknown[0]!r}; --list names them.", file=sys.stderr)
        return 2
    failed = []
    for name in arguments or names():
        print(f"\n== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
