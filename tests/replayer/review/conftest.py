"""Simulated runs: the same generator that the campaign in benchmarks/ uses."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

_SOURCE = Path(__file__).parents[3] / "benchmarks" / "review_campaign.py"


@pytest.fixture(scope="session")
def campaign():
    """The campaign's module: ``World``, ``world``, ``simulate``, ``make_run``, ``side``, ``review``."""
    spec = importlib.util.spec_from_file_location("review_campaign", _SOURCE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def endpoint_of():
    """Find an endpoint's result in a comparison by the start of its label."""

    def find(comparison, label):
        return next(e for e in comparison.endpoints if e.endpoint.startswith(label))

    return find
