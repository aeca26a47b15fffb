"""What a machine is, as far as measurements on it can be compared with those of another."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captures.codec import check_ints


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """
    The machine that replays.

    Two machines are of one class when processor model, cores, kernel series and Python series agree;
    a patch of the kernel or of Python makes no other class.
    """

    cpu_model: str
    cores: int
    kernel: str
    python: str

    @property
    def host_class(self) -> str:
        """``AMD EPYC x 2, Linux 6.18, Python 3.13``."""
        system, _, release = self.kernel.partition(" ")
        return f"{self.cpu_model} x {self.cores}, {system} {_series(release)}, Python {_series(self.python)}"


def host_facts(cpuinfo: Path = Path("/proc/cpuinfo")) -> HostFacts:
    """The facts of this machine; cores are those this process may use."""
    return HostFacts(
        cpu_model=_cpu_model(cpuinfo),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
    )


def build_host(values: Any) -> HostFacts | None:
    """
    The facts of a file; None where it tells none.

    Raises:
        TypeError: they are damaged.

    """
    if values is None:
        return None
    facts = HostFacts(**values)
    check_ints(facts.cores)
    if {type(text) for text in (facts.cpu_model, facts.kernel, facts.python)} != {str}:
        raise TypeError
    return facts


def _cpu_model(cpuinfo: Path) -> str:
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models and models[0] else platform.processor() or platform.machine() or "unknown"


def _series(version: str) -> str:
    """``6.18`` of ``6.18.3-generic``."""
    return ".".join(version.split("-", maxsplit=1)[0].split(".")[:2])
