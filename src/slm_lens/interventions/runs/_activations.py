"""Activations of one run, by hook, through the bridge."""

from collections.abc import Collection
from contextlib import nullcontext
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens.lens._runs import ONE_AT_A_TIME
from slm_lens.lens.model import LensModel


def activations(
    model: LensModel,
    tokens: Int[Tensor, " pos"],
    names: Collection[str],
    caller: str,
    *,
    first_state: Float[Tensor, "pos d_model"] | None = None,
    n_blocks: int | None = None,
) -> dict[str, Float[Tensor, "first ..."]]:
    """What stands at some hooks.

    Args:
        model: the model.
        tokens: token ids of the run.
        names: names of the hooks.
        caller: the public function, to begin messages with.
        first_state: what goes into the first block instead of the embeddings; None for these.
        n_blocks: how many blocks run; None for the whole model.

    Returns:
        Activations without their batch axis; none for no name.

    Raises:
        ValueError: the model has no such hook.
    """
    if not names:
        return {}
    bridge: Any = model

    def put(state: Tensor, hook: object) -> Tensor:  # noqa: ARG001 (TransformerLens names it)
        assert first_state is not None
        return first_state.to(state)[None]

    noisy = nullcontext()
    if first_state is not None:
        noisy = bridge.hooks(fwd_hooks=[("blocks.0.hook_resid_pre", put)])
    with ONE_AT_A_TIME, torch.no_grad(), noisy:
        _, cache = bridge.run_with_cache(
            tokens.to(model.cfg.device)[None],
            names_filter=lambda name: name in names,
            stop_at_layer=n_blocks,
            output_attentions=False,
            logits_to_keep=1,
        )
    missing = sorted(set(names) - set(cache.keys()))
    if missing:
        raise ValueError(
            f"{caller}: got a model without {missing[:4]}, expected these hooks. Take another kind "
            "of activation."
        )
    return {name: cache[name][0] for name in names}


def streams(
    states: Float[Tensor, "layer pos d_model"],
) -> dict[str, Float[Tensor, "pos d_model"]]:
    """The residual stream before and after every block, by hook.

    Args:
        states: layer ``l`` is what goes into block ``l``, the last one what leaves the last block.

    Returns:
        ``blocks.{l}.hook_resid_pre`` and ``blocks.{l}.hook_resid_post``.
    """
    n_layers = len(states) - 1
    found = {f"blocks.{i}.hook_resid_pre": states[i] for i in range(n_layers)}
    return found | {f"blocks.{i}.hook_resid_post": states[i + 1] for i in range(n_layers)}
