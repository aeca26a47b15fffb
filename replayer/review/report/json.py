"""The review for programs: every figure a number or null, keys always in the same order."""

from __future__ import annotations

import json
from typing import Any

from replayer.review.answers import AnswerChange, EndpointAnswers
from replayer.review.report import wording
from replayer.review.report.headline import headline
from replayer.review.slo import ObjectiveResult
from replayer.review.verdict import Comparison, EndpointResult, QuantileResult, RunSummary, Verdict

FORMAT = 1
"""Raised when a key changes its meaning or goes away; new keys may come at any time."""


def render(comparison: Comparison) -> str:
    """One JSON document with a final newline."""
    return json.dumps(document(comparison), indent=2, allow_nan=False) + "\n"


def document(comparison: Comparison) -> dict[str, Any]:
    """The report as plain data; times in ns, ratios candidate / baseline, shares of 1."""
    return {
        "format": FORMAT,
        "verdict": str(comparison.verdict),
        "headline": headline(comparison),
        "evidence": str(comparison.evidence),
        "margin": comparison.options.margin,
        "floor_ns": comparison.options.floor_ns,
        "paired": comparison.options.paired,
        "tests": comparison.tests,
        "assumed_run_sd": {wording.quantile_name(q): sd for q, sd in comparison.assumed_run_sd.items()},
        "shared_shift": comparison.shared_shift,
        "shared_taken_off": comparison.shared_taken_off,
        "reasons": wording.refusals(comparison) if comparison.verdict is Verdict.INVALID else [],
        "warnings": list(comparison.warnings),
        "objectives": [_objective(result) for result in comparison.objectives],
        "baseline": [_run(run) for run in comparison.baseline],
        "candidate": [_run(run) for run in comparison.candidate],
        "endpoints": [_endpoint(endpoint, comparison) for endpoint in comparison.endpoints],
    }


def _objective(result: ObjectiveResult) -> dict[str, Any]:
    return {
        "objective": result.objective.text,
        "proof": str(result.proof),
        "requests": result.requests,
        "bad": result.bad,
        "allowed": result.objective.allowed,
        "low": result.low,
        "high": result.high,
        "needed": result.needed,
    }


def _run(run: RunSummary) -> dict[str, Any]:
    return {
        "name": run.name,
        "run_id": run.run_id,
        "target": run.target,
        "speed": run.speed,
        "requests": run.requests,
        "failed": run.failed,
        "dropped": run.dropped,
        "valid": not run.invalid_reasons,
        "invalid_reasons": list(run.invalid_reasons),
        "notes": list(run.notes),
        "saturated": run.saturated or None,
        "host_class": run.host_class or None,
    }


def _endpoint(endpoint: EndpointResult, comparison: Comparison) -> dict[str, Any]:
    deciding = endpoint.deciding
    mix = endpoint.statuses
    return {
        "endpoint": endpoint.endpoint,
        "verdict": str(endpoint.verdict),
        "suspected": None if endpoint.suspected is None else str(endpoint.suspected),
        "quantile": deciding.quantile if deciding else None,
        "ratio": deciding.ratio if deciding else None,
        "ci": list(deciding.ci) if deciding else None,
        "mde": deciding.mde if deciding else None,
        "delta_ns": deciding.delta_ns if deciding else None,
        "p_adjusted": deciding.p_adjusted if deciding else None,
        "fragile": deciding.fragile if deciding else False,
        "evidence": str(comparison.evidence),
        "outcome": endpoint.outcome or None,
        "n": {"baseline": endpoint.baseline_requests, "candidate": endpoint.candidate_requests},
        "statuses": {"baseline": mix.baseline, "candidate": mix.candidate},
        "status_p": mix.p,
        "status_p_adjusted": mix.p_adjusted,
        "status_changed": list(mix.changed),
        "quantiles": [_quantile(result) for result in endpoint.quantiles],
        "warnings": list(endpoint.warnings),
        "advice": endpoint.advice or None,
        "answers": None if endpoint.answers is None else _answers(endpoint.answers),
    }


def _answers(answers: EndpointAnswers) -> dict[str, Any]:
    return {
        "pairs": answers.pairs,
        "bodies": answers.bodies,
        "noise_pairs": answers.noise_pairs,
        "different": answers.different,
        "changes": [_change(change) for change in answers.changes],
        "masked": [
            {"part": str(place.part), "path": place.path, "reason": place.reason} for place in answers.masked
        ],
        "left_out": answers.left_out,
    }


def _change(change: AnswerChange) -> dict[str, Any]:
    return {
        "part": str(change.part),
        "path": change.path,
        "change": str(change.change),
        "changed": change.changed,
        "compared": change.compared,
        "p": change.p,
        "sure": change.sure,
        "examples": [
            {"seq": example.seq, "before": example.before, "after": example.after}
            for example in change.examples
        ],
    }


def _quantile(result: QuantileResult) -> dict[str, Any]:
    return {
        "quantile": result.quantile,
        "verdict": str(result.verdict),
        "baseline_ns": result.baseline_ns,
        "candidate_ns": result.candidate_ns,
        "delta_ns": result.delta_ns,
        "ratio": result.ratio,
        "ci": list(result.ci),
        "mde": result.mde,
        "noise": result.noise,
        "p": result.p,
        "p_adjusted": result.p_adjusted,
        "fragile": result.fragile,
    }
