"""Activation patching: states of one run put into another one, and what becomes of its prediction.

For each pair of runs, each site and each place, one copy of the *target* run gets the states of
the *source* run there, and the metrics are read from its last layer:

* **denoising** puts the clean run's states into the corrupted run: is this state enough to bring
  the answer back?
* **noising** does the reverse: is it needed to keep it?

Runs of unequal length are brought together word by word (`moving`). States may come from another
layer than the one they are put into: what transcription wrote at layer 3, say, placed where
prediction reads at layer 5.

Source: Vig et al. 2020, arXiv:2004.12265; Heimersheim and Nanda 2024, arXiv:2404.15255. Between
layers: "back-patching", Biran et al. 2024, arXiv:2406.12775. Across modalities: ours.
"""

from collections.abc import Sequence
from typing import Any, Literal

import polars as pl

from slm_lens._console import shown_steps
from slm_lens.interventions.metrics import Metric
from slm_lens.interventions.pairs.moving import Fit
from slm_lens.interventions.pairs.run_pair import Direction, RunPair
from slm_lens.interventions.patching._patched_pair import At, patch_pair, plan_patches
from slm_lens.interventions.patching.patching_result import SCHEMA, Patching
from slm_lens.interventions.runs.measured_run import provenance_of_engine
from slm_lens.interventions.site import SiteKind
from slm_lens.lens.model import LensModel


def patch_pairs(
    model: LensModel,
    pairs: Sequence[RunPair],
    kind: SiteKind = "resid_pre",
    *,
    metrics: Sequence[Metric],
    direction: Direction = "denoising",
    at: At = "words",
    fit: Fit = "warp",
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | Literal["each"] | None = None,
    source_layers: Sequence[int] | Literal["same"] = "same",
    memory_mb: float = 256.0,
    progress: bool = True,
) -> Patching:
    """Patch every site and place of every pair.

    Args:
        model: the model, in evaluation mode; it is not changed.
        pairs: the runs, with different names.
        kind: which activation is moved.
        metrics: what is measured, with different names.
        direction: ``"denoising"`` puts the clean run's states into the corrupted run, ``"noising"``
            the reverse.
        at: ``"words"`` moves one match at a time (a word, or the start or end), ``"roles"`` all
            matches of a role, ``"positions"`` one target position of a match, ``"all"`` all matches
            together.
        fit: how a span's states come to a span of another length, see `moving`.
        layers: layers that are patched; None for all.
        heads: heads that are patched, each by itself; ``"each"`` for all heads, None for all
            together. Only for activations that have heads.
        source_layers: ``"same"``, or the layers that states are taken from: then every one of them
            is put into every one of `layers`.
        memory_mb: about how much the runs of a pair, the patches and a batch of copies may take
            together, in 10^6 bytes.
        progress: show a progress bar, if the standard output is a terminal.

    Returns:
        One row for each pair, site, place and metric.

    Raises:
        ValueError: no pair or metric, names that are not different, a layer or head that does not
            exist, lengths that do not fit, or a metric on tokens outside its modality.
        TypeError: something else than a list of pairs, or of metrics.
    """  # noqa: DOC502 (raised by the parts)
    _check(pairs, metrics)
    plan = plan_patches(
        model,
        kind,
        metrics=metrics,
        direction=direction,
        at=at,
        fit=fit,
        layers=layers,
        heads=heads,
        source_layers=source_layers,
        memory_mb=memory_mb,
    )
    with shown_steps(pairs, "patching", shown=progress) as shown:
        done = [patch_pair(model, pair, plan) for pair in shown]
    rows: list[tuple[Any, ...]] = [row for of_pair in done for row in of_pair.rows]
    return Patching(
        pl.DataFrame(rows, schema=SCHEMA, orient="row"),
        direction=direction,
        at=at,
        fit=fit,
        engine=", ".join(sorted({of_pair.engine for of_pair in done})),
        provenance=provenance_of_engine(model, done[-1].engine),
    )


def _check(pairs: Sequence[RunPair], metrics: Sequence[Metric]) -> None:
    for what, given, kind in (("pair", pairs, RunPair), ("metric", metrics, Metric)):
        if isinstance(given, str) or not isinstance(given, Sequence):
            raise TypeError(
                f"patch_pairs: got {type(given).__name__} as {what}s, expected a list of them."
            )
        strange = sorted({type(x).__name__ for x in given if not isinstance(x, kind)})
        if strange:
            raise TypeError(
                f"patch_pairs: got {strange} among the {what}s, expected {kind.__name__}. A metric "
                "is what logit_difference() gives, with its brackets."
            )
    names = [p.name for p in pairs]
    if not names or len(set(names)) != len(names):
        raise ValueError(
            f"patch_pairs: got the pairs {names[:8]}, expected at least one, and different names."
        )
