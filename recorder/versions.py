"""Which versions of mitmproxy the overrides of its inside were measured and tested with."""

from __future__ import annotations

from mitmproxy import version

TESTED_FROM = (11, 0)
TESTED_BELOW = (13, 0)


def version_is_tested(text: str = version.VERSION) -> bool:
    """Whether mitmproxy's inside is known; if not, it is used as it is."""
    try:
        major, minor = (int(part) for part in text.split(".")[:2])
    except ValueError:
        return False
    return TESTED_FROM <= (major, minor) < TESTED_BELOW
