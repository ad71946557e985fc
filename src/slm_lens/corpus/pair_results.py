"""Results of finished runs over pairs, as the sweeps in one go give them."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from slm_lens.errors import RunError
from slm_lens.interventions.patching.patching_result import Patching
from slm_lens.interventions.tracing.tracing_result import Tracing
from slm_lens.model._facts import provenance_from


def patching_of(table: pl.DataFrame, engines: pl.DataFrame, facts: Mapping[str, Any]) -> Patching:
    """What `slm_lens.patch_pairs` gives.

    Args:
        table: the table ``patching``.
        engines: the table ``engines``.
        facts: of the run.

    Returns:
        The result.
    """
    return Patching(table, **_with_engine(engines, facts))


def tracing_of(
    table: pl.DataFrame, prompts: pl.DataFrame, engines: pl.DataFrame, facts: Mapping[str, Any]
) -> Tracing:
    """What `slm_lens.causal_trace` gives.

    Args:
        table: the table ``tracing``.
        prompts: the table ``prompts``.
        engines: the table ``engines``.
        facts: of the run.

    Returns:
        The result.

    Raises:
        RunError: no prompt was traced.
    """
    if table.is_empty():
        raise RunError(
            f"CorpusRun: got {len(prompts)} prompts, none of which the model answers with its "
            "likeliest token, expected at least one. Take other prompts, or trace.unanswered: keep."
        )
    rest = {k: v for k, v in facts.items() if k != "repeated"}
    return Tracing(table, prompts, **_with_engine(engines, rest))


def _with_engine(engines: pl.DataFrame, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a result; its provenance is that of the last item, as in one go."""
    rest = dict(facts)
    whole = provenance_from(rest.pop("whole_runs_provenance"), "open_run")
    if engines["engine"][-1] == "whole runs":
        rest["provenance"] = whole
    return rest | {"engine": ", ".join(sorted(set(engines["engine"])))}
