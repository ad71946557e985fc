"""Does a direction turn the corrupted runs of pairs towards the clean runs' answers?

The vector is added to the corrupted run at the spans of one role, at each layer, in several
strengths, and metrics are read. Two vectors, both made as long as the run's mean state over these
spans, so that a strength of 1 means as much in one layer, pair and model as in another:

* ``"answers"``: what the unembedding reads for the pair's answer, less the same for its foil;
* ``"difference"``: the mean over all *other* pairs of clean less corrupted state. A pair has no
  part in its own vector, or it would be steered by what is to be shown.

Source: directions as in `interventions.directions`; leaving the pair out is ours.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens.interventions.directions import contrast, word_directions
from slm_lens.interventions.metrics import Metric, logit_difference
from slm_lens.interventions.pairs.matching import Role
from slm_lens.interventions.pairs.moving import Span
from slm_lens.interventions.pairs.run_pair import RunPair
from slm_lens.interventions.runs.measured_run import MeasuredRun
from slm_lens.interventions.site import sites
from slm_lens.interventions.steering.dose_response import DoseResponse, StreamKind, dose_response
from slm_lens.lens.model import LensModel

SteeredBy = Literal["answers", "difference"]
_STEERED_BY: tuple[SteeredBy, ...] = get_args(SteeredBy)


def steer_pairs(
    model: LensModel,
    pairs: Sequence[RunPair],
    strengths: Sequence[float],
    *,
    vector: SteeredBy = "answers",
    role: Role = "changed",
    kind: StreamKind = "resid_post",
    layers: Sequence[int] | None = None,
    metrics: Mapping[str, Metric] | None = None,
    n_random: int = 5,
    n_bootstrap: int = 1000,
    seed: int = 0,
    memory_mb: float = 256.0,
    progress: bool = True,
) -> DoseResponse:
    """Metrics of the corrupted runs, by how strongly they are steered.

    Args:
        model: the model, in evaluation mode.
        pairs: clean and corrupted runs with answers.
        strengths: in lengths of the mean state; negative ones steer away.
        vector: what is added, see above.
        role: at which spans of the corrupted run: from the first to the last of that role.
        kind: before or after the block.
        layers: blocks; None for all.
        metrics: what is measured, by the names that tables are to have; None for
            `logit_difference`.
        n_random: random vectors of the same norm; 0 for none.
        n_bootstrap: resamples of pairs in intervals.
        seed: seed of the random vectors and the resamples.
        memory_mb: as in `PatchedRuns`.
        progress: show a progress bar on a terminal.

    Returns:
        The metrics; its runs are named after the pairs.

    Raises:
        ValueError: an unknown vector; a pair without foil for ``"answers"``; fewer than two pairs
            for ``"difference"``; a role that a pair does not have; or what `dose_response`
            refuses.
    """
    if vector not in _STEERED_BY:
        raise ValueError(f"steer_pairs: got vector={vector!r}, expected one of {_STEERED_BY}.")
    at = sites(model, kind, layers=layers)
    spans = [(_span(pair, role, "clean"), _span(pair, role, "corrupted")) for pair in pairs]
    if not pairs:
        raise ValueError("steer_pairs: got no pairs, expected at least one.")
    both = contrast(
        model,
        [(pair.clean, clean) for pair, (clean, _) in zip(pairs, spans, strict=True)],
        [(pair.corrupted, corrupted) for pair, (_, corrupted) in zip(pairs, spans, strict=True)],
    )
    which = [site.layer + (kind == "resid_post") for site in at]
    corrupted = both.unwanted[:, which].float().cpu()
    if vector == "answers":
        directions = _towards_answers(model, pairs)[:, None].expand_as(corrupted)
    else:
        directions = _difference_of_others(both.wanted[:, which].float().cpu() - corrupted)
    unit = directions / directions.norm(dim=-1, keepdim=True)
    return dose_response(
        model,
        [
            MeasuredRun(pair.name, pair.corrupted, span, pair.answer, pair.foil)
            for pair, (_, span) in zip(pairs, spans, strict=True)
        ],
        unit * corrupted.norm(dim=-1, keepdim=True),
        strengths,
        {"logit_difference": logit_difference()} if metrics is None else metrics,
        kind=kind,
        layers=layers,
        n_random=n_random,
        n_bootstrap=n_bootstrap,
        seed=seed,
        memory_mb=memory_mb,
        progress=progress,
    )


def _span(pair: RunPair, role: Role, run: Literal["clean", "corrupted"]) -> Span:
    """From the first to the last span of a role."""
    spans = [m.clean if run == "clean" else m.corrupted for m in pair.of_role(role)]
    return min(start for start, _ in spans), max(end for _, end in spans)


def _towards_answers(model: LensModel, pairs: Sequence[RunPair]) -> Float[Tensor, "pair d_model"]:
    """Mean direction of each answer less that of its foil."""
    found = []
    for pair in pairs:
        if not pair.foil:
            raise ValueError(
                f"steer_pairs: got the pair {pair.name!r} without a foil, expected one for "
                "vector='answers'. Give it a foil, or take vector='difference'."
            )
        answer, foil = (word_directions(model, x).mean(0) for x in (pair.answer, pair.foil))
        found.append((answer - foil).cpu())
    return torch.stack(found)


def _difference_of_others(
    differences: Float[Tensor, "pair layer d_model"],
) -> Float[Tensor, "pair layer d_model"]:
    """For each pair the mean over all others."""
    n = len(differences)
    if n < 2:
        raise ValueError(
            f"steer_pairs: got {n} pair for vector='difference', expected at least two: the "
            "vector of a pair is the mean over the others."
        )
    return (differences.sum(0, keepdim=True) - differences) / (n - 1)
