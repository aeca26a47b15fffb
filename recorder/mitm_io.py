"""mitmproxy's reading and writing of flows, imported without the warnings that its imports cause."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    # Its filter language, which comes along, still uses names that pyparsing 3.3 calls old.
    warnings.simplefilter("ignore", DeprecationWarning)
    from mitmproxy.io import FlowWriter, compat, tnetstring

__all__ = ["FlowWriter", "compat", "tnetstring"]
