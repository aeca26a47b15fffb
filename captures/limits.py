"""Limits of the process that nobody chose."""

from __future__ import annotations

import resource


def raise_file_limit() -> None:
    """Raise the soft limit of open files to the hard one: a connection is a descriptor, and 1,024 are few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):
            return  # the system has its own idea; what does not fit is told where it is noticed
