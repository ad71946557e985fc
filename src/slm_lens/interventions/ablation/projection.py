"""Activations without something: zeroed, put to a mean, resampled, or without some directions.

| how | what is put in place of an activation |
|---|---|
| ``"zero"`` | zero |
| ``"mean"`` | the mean over all positions of some reference runs |
| ``"resample"`` | what stands at positions drawn from the reference runs |
| `projected_out` | the activation less its part in a subspace: ``h - B^T B h``, rows orthonormal |

Zero is rarely a value that a model ever sees; prefer the mean, or resampling. A resampled position
gets the same draw in every forward pass, so that a run with a cache of keys and values is the run
without.

Source: Wang et al. 2022, arXiv:2211.00593 (mean); Chan et al. 2022 (resample); Elazar et al. 2021,
arXiv:2006.00995 (projecting out).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens.interventions.changing import EVERYWHERE, Change, OpenSpan, changed, check_span
from slm_lens.interventions.site import HEAD_KINDS, Site, check_sites
from slm_lens.interventions.steering.steered import check_width
from slm_lens.lens._runs import ONE_AT_A_TIME
from slm_lens.lens.model import LensModel
from slm_lens.sequence.sequence import SpeechTextSequence

Ablation = Literal["zero", "mean", "resample"]
ABLATIONS: tuple[Ablation, ...] = get_args(Ablation)


@contextmanager
def ablated(
    model: LensModel,
    sites: Sequence[Site],
    how: Ablation,
    *,
    reference: Sequence[SpeechTextSequence] = (),
    span: OpenSpan = EVERYWHERE,
    seed: int = 0,
) -> Iterator[None]:
    """Ablate activations in every forward pass of the model until the block ends.

    Args:
        model: the model.
        sites: what is ablated.
        how: see above.
        reference: runs that ``"mean"`` and ``"resample"`` take their values from. In a model of
            two modalities take runs of the one that is ablated.
        span: half-open positions where it is ablated; an end of None is open.
        seed: seed of the draws of ``"resample"``.

    Yields:
        Nothing.

    Raises:
        ValueError: an unknown way, reference runs missing or not used, or a mean of attention
            patterns, which are of different length in each run.
    """  # noqa: DOC502 (raised by ablation_values)
    with changed(model, ablations(model, sites, how, reference=reference, span=span, seed=seed)):
        yield


def ablations(
    model: LensModel,
    sites: Sequence[Site],
    how: Ablation,
    *,
    reference: Sequence[SpeechTextSequence] = (),
    span: OpenSpan = EVERYWHERE,
    seed: int = 0,
) -> list[Change]:
    """`ablated` as changes, to be made together with others.

    Args:
        model: the model.
        sites: as in `ablated`.
        how: as in `ablated`.
        reference: as in `ablated`.
        span: as in `ablated`.
        seed: as in `ablated`.

    Returns:
        One change for each site.

    Raises:
        ValueError: as `ablated`.
    """  # noqa: DOC502 (raised by _check)
    _check(sites, how, reference)
    check_sites(model, sites, "ablated")
    if how == "zero":
        return [Change(site, span, lambda old, _: torch.zeros_like(old)) for site in sites]
    pools = reference_activations(model, sites, reference)
    if how == "mean":
        means = {site: pool.float().mean(0) for site, pool in pools.items()}
        return [Change(site, span, _Put(means[site])) for site in sites]
    return [Change(site, span, Draws(pools[site], seed)) for site in sites]


def _check(sites: Sequence[Site], how: str, reference: Sequence[SpeechTextSequence]) -> None:
    if how not in ABLATIONS:
        raise ValueError(f"ablated: got how={how!r}, expected one of {ABLATIONS}.")
    check_reference(how, reference, "ablated")
    if how != "zero" and any(site.kind == "pattern" for site in sites):
        raise ValueError(
            f"ablated: got how={how!r} for an attention pattern, expected 'zero': patterns of "
            "other runs have other lengths. Ablate z instead."
        )


def check_reference(how: str, reference: Sequence[SpeechTextSequence], caller: str) -> None:
    """Refuse reference runs that are missing, or not used.

    Args:
        how: the kind of ablation.
        reference: the runs.
        caller: the public function, to begin messages with.

    Raises:
        ValueError: there are none for a mean or draws, or some for zero.
    """
    if (how == "zero") == bool(reference):
        raise ValueError(
            f"{caller}: got {len(reference)} reference runs for how={how!r}, expected some for "
            "'mean' and 'resample' and none for 'zero'. Give reference=[sequence, ...]."
        )


def reference_activations(
    model: LensModel, sites: Sequence[Site], runs: Sequence[SpeechTextSequence]
) -> dict[Site, Float[Tensor, "n_positions ..."]]:
    """Activations at all positions of some runs, for means and draws.

    Args:
        model: the model.
        sites: which activations; no patterns.
        runs: the runs.

    Returns:
        For each site one row for each position of each run.
    """
    names = {site.hook for site in sites}
    rows: dict[Site, list[Tensor]] = {site: [] for site in sites}
    for run in runs:
        with ONE_AT_A_TIME, torch.no_grad():
            _, cache = cast(Any, model).run_with_cache(
                run.tokens[None].to(model.cfg.device), names_filter=lambda name: name in names
            )
        for site in sites:
            activation = cache[site.hook][0]
            one_head = site.kind in HEAD_KINDS and site.head is not None
            rows[site].append(activation[:, site.head] if one_head else activation)
    return {site: torch.cat(found) for site, found in rows.items()}


@dataclass(frozen=True, eq=False)
class _Put:
    """Puts one value at every position."""

    value: Tensor

    def __call__(self, old: Tensor, positions: Tensor) -> Tensor:  # noqa: ARG002
        return self.value.to(old.device, old.dtype).expand_as(old)


@dataclass(frozen=True, eq=False)
class Draws:
    """Puts at each position what stands at a drawn position of a pool.

    Attributes:
        pool: activations to draw from.
        seed: seed of the draws.
    """

    pool: Float[Tensor, "n_pool ..."]
    seed: int

    def drawn(self, position: int) -> int:
        """Which row of the pool a position gets: the same in every forward pass.

        Args:
            position: position in the sequence.

        Returns:
            Index into `pool`.
        """
        return int(np.random.default_rng([self.seed, position]).integers(len(self.pool)))

    def __call__(self, old: Tensor, positions: Int[Tensor, " n"]) -> Tensor:
        """The drawn activations, the same for all rows of a batch.

        Args:
            old: activations to replace.
            positions: their positions in the sequence.

        Returns:
            What replaces them.
        """
        rows = self.pool[[self.drawn(p) for p in positions.tolist()]]
        return rows.to(old.device, old.dtype).expand_as(old)


@dataclass(frozen=True, eq=False)
class Projection:
    """A subspace that is taken out of an activation.

    Attributes:
        site: ``resid_pre``, ``resid_mid``, ``resid_post``, ``attn_out`` or ``mlp_out`` of a block.
        basis: orthonormal rows, as `orthonormal` gives them.
        span: half-open positions; an end of None is open.

    Raises:
        ValueError: there is no row, rows are not orthonormal, the span is empty, or the site is
            part of a head.
    """

    site: Site
    basis: Float[Tensor, "n_directions d_model"]
    span: OpenSpan = EVERYWHERE

    def __post_init__(self) -> None:
        check_span(self.span, "Projection")
        if self.site.kind in HEAD_KINDS:
            raise ValueError(
                f"Projection: got {self.site.label}, expected a site as wide as the residual "
                "stream: resid_pre, resid_mid, resid_post, attn_out or mlp_out."
            )
        if self.basis.ndim != 2 or not len(self.basis):
            raise ValueError(
                f"Projection: got a basis of shape {tuple(self.basis.shape)}, expected at least "
                "one row, [n_directions, d_model]. orthonormal(rows) makes it."
            )
        rows = self.basis.double()
        worst = (rows @ rows.T - torch.eye(len(rows), device=rows.device)).abs().max().item()
        if not worst <= _ORTHONORMAL:  # NaN as well
            raise ValueError(
                f"Projection: got rows whose products differ from 0 and 1 by up to {worst:.2g}, "
                "expected orthonormal ones. orthonormal(rows) makes them."
            )

    def without(self, states: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """States without their part in the subspace.

        Args:
            states: vectors as wide as the residual stream.

        Returns:
            ``h - B^T B h`` in the dtype of the states, computed in float32 or wider.
        """
        wide = torch.promote_types(states.dtype, torch.float32)
        basis = self.basis.to(states.device, wide)
        return (states.to(wide) - states.to(wide) @ basis.T @ basis).to(states.dtype)


# float32 rows of up to 4096 entries that QR made differ by less than 1e-6 from orthonormal.
_ORTHONORMAL = 1e-4


@contextmanager
def projected_out(
    model: LensModel, projections: Projection | Sequence[Projection]
) -> Iterator[None]:
    """Take directions out of activations in every forward pass until the block ends.

    Args:
        model: the model.
        projections: one or several.

    Yields:
        Nothing.

    Raises:
        ValueError: a subspace of another width than the model's, or a layer that it lacks.
    """  # noqa: DOC502 (raised by check_width and changed)
    given = [projections] if isinstance(projections, Projection) else list(projections)
    for projection in given:
        check_width(projection.basis, model, "projected_out")
    changes = [Change(p.site, p.span, _Without(p)) for p in given]
    with changed(model, changes):
        yield


@dataclass(frozen=True, eq=False)
class _Without:
    projection: Projection

    def __call__(self, old: Tensor, positions: Tensor) -> Tensor:  # noqa: ARG002
        return self.projection.without(old)
