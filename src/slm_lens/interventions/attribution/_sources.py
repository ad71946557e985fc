"""Where heads have their part of a logit difference from: position by position."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens.interventions.attribution._runs import Hook, run
from slm_lens.interventions.attribution._writers import output_weights
from slm_lens.interventions.attribution.logit_directions import LogitDirection
from slm_lens.lens.components import ComponentStack
from slm_lens.lens.jacobian import DifferentiableModel

# Largest difference between a head's part and the sum over its sources, over the largest part.
# Measured on random Qwen2 and GPT-2 models: float32 1e-6. A gate on heads changes it by its own.
_TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 1e-1}


@torch.no_grad()
def head_sources(
    model: DifferentiableModel,
    tokens: Int[Tensor, " pos"],
    at: int,
    direction: LogitDirection,
    heads: ComponentStack,
    of_heads: Float[Tensor, "layer head"],
) -> Float[Tensor, "layer head pos"]:
    """``pattern[at, s] v[s] . W_O`` through the final norm, along a direction.

    Args:
        model: the model.
        tokens: token ids of one sequence.
        at: position that the logits are read at.
        direction: what is divided.
        heads: the heads' components at that position, for the norm's scale.
        of_heads: the heads' parts, which the sources must sum to.

    Returns:
        Part of each head and source position.

    Raises:
        ValueError: a head's output is not its pattern times its values.
    """
    n_layers = model.cfg.n_layers
    rows: dict[int, Tensor] = {}
    values: dict[int, Tensor] = {}

    def keep(layer: int) -> list[Hook]:
        def pattern(activation: Tensor, hook: Any) -> None:  # noqa: ARG001 (given by name)
            rows[layer] = activation[0, :, at].float()

        def value(activation: Tensor, hook: Any) -> None:  # noqa: ARG001
            values[layer] = activation[0].float()

        block = f"blocks.{layer}.attn"
        return [(f"{block}.hook_pattern", pattern), (f"{block}.hook_v", value)]

    run(model, tokens, [hook for layer in range(n_layers) for hook in keep(layer)])
    found = []
    for layer in range(n_layers):
        W_O = output_weights(model, layer).float()
        n_heads, d_head, d_model = W_O.shape
        normed = heads.final_norm.of_summands(W_O.reshape(-1, 1, 1, d_model).to(rows[layer].device))
        written = (normed[:, 0, 0] @ direction.vector.to(normed.device)).view(n_heads, d_head)
        group = n_heads // values[layer].shape[1]
        of_values = torch.einsum("she,he->hs", values[layer].repeat_interleave(group, 1), written)
        found.append(rows[layer] * of_values)
    sources = torch.stack(found)
    worst = (sources.sum(-1) - of_heads.to(sources)).abs().max().item()
    size = of_heads.abs().max().item()
    if not worst <= _TOLERANCE[model.W_U.dtype] * size:
        raise ValueError(
            f"attribute_directly: what heads read from all positions is off by {worst:.3g} of "
            f"{size:.3g} from what they write, expected the pattern times the values. Does the "
            "model gate or norm its heads' outputs?"
        )
    return sources
