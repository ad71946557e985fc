"""Metrics by their names, for configurations and command lines."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from slm_lens.interventions.metrics import (
    Metric,
    answer_probability,
    answer_rank,
    divergence,
    log_prob,
    logit_difference,
    modality_mass,
    next_unit_log_prob,
)

_MADE_BY: Mapping[str, Callable[[], Metric]] = {
    "logit_difference": logit_difference,
    "log_prob": log_prob,
    "probability": answer_probability,
    "rank": answer_rank,
    "kl": divergence,
    "text_mass": partial(modality_mass, "text", name="text_mass"),
    "speech_mass": partial(modality_mass, "speech", name="speech_mass"),
    "next_unit_log_prob": next_unit_log_prob,
}
METRIC_NAMES = tuple(_MADE_BY)


def named_metrics(names: Sequence[str], caller: str) -> list[Metric]:
    """Metrics by their names in tables.

    Args:
        names: which, of `METRIC_NAMES`.
        caller: the public function, to begin messages with.

    Returns:
        The metrics, in order; text and speech mass are told apart by their names.

    Raises:
        ValueError: there is none, one stands twice, or there is no such metric.
    """
    unknown = [n for n in names if n not in _MADE_BY]
    if unknown:
        near = difflib.get_close_matches(unknown[0], METRIC_NAMES, 1)
        raise ValueError(
            f"{caller}: got the metric {unknown[0]!r}, expected some of {METRIC_NAMES}."
            + (f" Is {near[0]!r} meant?" if near else "")
        )
    if not names or len(set(names)) != len(names):
        raise ValueError(
            f"{caller}: got the metrics {list(names)}, expected at least one of {METRIC_NAMES}, "
            "and none twice."
        )
    return [_MADE_BY[name]() for name in names]
