"""The QK fix of AtP*: queries and keys through the softmax, and only then the gradient.

A saturated softmax has no gradient, though a patched query may turn it round. So the pattern P is
computed again with the patched query or key, and its change meets the gradient of the pattern:

``score = sum over t, s of (P'[t, s] - P[t, s]) . dM/dP[t, s]``

A query at t changes row t. A key at s changes entry s of every row, and the softmax the rest of
it: with the score's new value ``a'``, ``P'[t, s] = sigmoid(a' - logsumexp of the other scores)``,
and the others keep their shares of what is left. So one pass over ``[head, t, s]`` gives the scores
of all keys. Keys of grouped queries sum over the heads of their group.

New scores are read off the model: one run with every query replaced and one with every key. What
those change further on does not matter, as every layer's queries and keys are given.

Source: Kramár et al. 2024, arXiv:2403.00745, section 3.1 and equation 7.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens.interventions.attribution._pair_task import PairTask
from slm_lens.interventions.attribution._runs import Hook, record
from slm_lens.interventions.site import Site
from slm_lens.lens.jacobian import DifferentiableModel

_NOTHING = -1e30  # masked scores are the lowest number of their dtype, or minus infinity
# Largest difference between the softmax of the scores and the model's pattern: measured 0 in
# float32 and up to 4e-3 in bfloat16, whose pattern is rounded to 8 bits. Attention sinks take more.
_TOLERANCE = 1e-2


@dataclass(frozen=True, eq=False)
class PatternChange:
    """What queries or keys of one layer would change.

    Attributes:
        kind: which of the two.
        hook: hook of the layer's pattern.
        before: attention scores of the target run.
        after: the same with every query, or every key, replaced.
        n_groups: groups of heads that share keys.
    """

    kind: Literal["q", "k"]
    hook: str
    before: Float[Tensor, "head pos pos"]
    after: Float[Tensor, "head pos pos"]
    n_groups: int

    def scores(self, slope: Float[Tensor, "head pos pos"]) -> Float[Tensor, "n pos"]:
        """Scores of all positions.

        Args:
            slope: gradient of the pattern.

        Returns:
            Of queries by head, of keys by group.
        """
        before, after, slope = (_clean(t) for t in (self.before, self.after, slope))
        if self.kind == "q":
            return ((after.softmax(-1) - before.softmax(-1)) * slope).sum(-1)
        changes = _each_key_alone(before, after, slope).sum(1)
        return changes.unflatten(0, (self.n_groups, -1)).sum(1)


def pattern_changes(
    model: DifferentiableModel,
    task: PairTask,
    nodes: Sequence[Site],
) -> dict[str, PatternChange]:
    """New attention scores with moved queries, and with moved keys.

    Args:
        model: the model.
        task: the pair, with the source's queries and keys.
        nodes: nodes to score; those that are no query or key do not matter.

    Returns:
        By the hook of the queries or keys.

    Raises:
        ValueError: the model's pattern is not the softmax of its scores.
    """  # noqa: DOC502 (raised by _require_softmax)
    kinds = [kind for kind in ("q", "k") if any(site.kind == kind for site in nodes)]
    layers = sorted({site.layer for site in nodes if site.kind in kinds})
    own = record(
        model,
        task.target.tokens,
        [_hook(layer, name) for layer in layers for name in ("q", "k", "attn_scores", "pattern")],
    )
    _require_softmax(own, layers)
    names = [_hook(layer, "attn_scores") for layer in layers]
    changes = {}
    for kind in kinds:
        given = {_hook(layer, name): own[_hook(layer, name)] for layer in layers for name in "qk"}
        for layer in layers:
            name = _hook(layer, kind)
            given[name] = task.moved(task.given[name], own[name])
        after = record(model, task.target.tokens, names, hooks=[_put(*g) for g in given.items()])
        for layer in layers:
            scores = _hook(layer, "attn_scores")
            changes[_hook(layer, kind)] = PatternChange(
                "q" if kind == "q" else "k",
                _hook(layer, "pattern"),
                own[scores],
                after[scores],
                own[_hook(layer, "k")].shape[-2],
            )
    return changes


def _each_key_alone(before: Tensor, after: Tensor, slope: Tensor) -> Float[Tensor, "head pos pos"]:
    """``sum over j of (P'[t, j] - P[t, j]) slope[t, j]`` when only score ``[t, s]`` is replaced.

    The share of the others is ``1 - P[t, s]``, which rounds to nothing where a row looks at one
    key. That can be the row's largest only, so for this one the others are summed without it.
    """
    pattern = before.softmax(-1)
    mean = (pattern * slope).sum(-1, keepdim=True)
    best = before.argmax(-1, keepdim=True)
    others = before.scatter(-1, best, -torch.inf)
    alone = others.amax(-1, keepdim=True) < _NOTHING  # the first position sees but itself
    others = others.masked_fill(alone, 0.0)
    rest = (1 - pattern).clamp_min(torch.finfo(pattern.dtype).tiny)
    log_rest = before.logsumexp(-1, keepdim=True) + rest.log()
    log_rest = log_rest.scatter(-1, best, others.logsumexp(-1, keepdim=True))
    mean_rest = (mean - pattern * slope) / rest
    best_rest = (others.softmax(-1) * slope).sum(-1, keepdim=True)
    mean_rest = mean_rest.scatter(-1, best, best_rest)
    share = (after - log_rest).sigmoid()
    changed = share * slope + (1 - share) * mean_rest - mean
    return changed.masked_fill((before < _NOTHING) | alone, 0.0)


def _clean(scores: Tensor) -> Tensor:
    """Float32, with masked scores at minus infinity."""
    scores = scores.float()
    return scores.masked_fill(scores < _NOTHING, -torch.inf)


def _require_softmax(own: Mapping[str, Tensor], layers: Sequence[int]) -> None:
    for layer in layers:
        pattern = own[_hook(layer, "pattern")].float()
        computed = _clean(own[_hook(layer, "attn_scores")]).softmax(-1)
        worst = (computed - pattern).abs().max().item()
        if not worst <= _TOLERANCE:
            raise ValueError(
                f"attribute_nodes: the pattern of layer {layer} differs from the softmax of its "
                f"scores by up to {worst:.3g}, expected at most {_TOLERANCE:g}. Does the model "
                "have attention sinks, or attention that hooks do not see? Leave qk_fix out."
            )


def _hook(layer: int, name: str) -> str:
    return f"blocks.{layer}.attn.hook_{name}"


def _put(name: str, value: Tensor) -> Hook:
    def hook(activation: Tensor, hook: Any) -> Tensor:  # noqa: ARG001 (given by name)
        return value[None].to(activation)

    return name, hook
