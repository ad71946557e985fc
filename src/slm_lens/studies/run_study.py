"""Runs a study by its name, with options as plain values."""

from collections.abc import Sequence
from typing import Any

from slm_lens._typed_entries import typed_entries
from slm_lens.model.hooked import HookedSLM
from slm_lens.studies.catalogue import find_study
from slm_lens.studies.study_result import StudyResult


def run_study(name: str, models: Sequence[HookedSLM], **options: Any) -> StudyResult:
    """Run a study.

    ::

        result = slm_lens.run_study("geometry", [slm_lens.load("organism")], seed=1)
        result.findings  # sentences with estimates, intervals, controls and n
        result.frame("layers")  # a polars table

    Args:
        name: of the study; ``slm-lens study --list`` has them.
        models: on which models; their names differ.
        options: of this study, see ``slm-lens study NAME --show-options``; the rest keep their
            defaults.

    Returns:
        Tables and findings. A notebook shows its figure.

    Raises:
        LookupError: there is no such study.
        ValueError: no model, two of one name, an unknown option or a value that does not fit it,
            or what the study refuses.
    """  # noqa: DOC502 (some raised by the functions it calls)
    study = find_study(name)
    names = [m.provenance.name for m in models]
    if not names or len(set(names)) != len(names):
        raise ValueError(
            f"run_study: got models {names}, expected at least one, with names that differ."
        )
    chosen = typed_entries(study.options_class(), options, f"study {name!r}")
    return study.implementation()(models, chosen)
