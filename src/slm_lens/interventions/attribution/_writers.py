"""What each writer wrote into the residual stream: vectors of heads, MLPs and the embeddings.

Heads are kept as ``z`` and multiplied with ``W_O`` a layer at a time: ``[head, pos, d_model]`` of
all layers would be ``n_heads`` times the stream of every layer.
"""

from collections.abc import Mapping
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens.interventions.attribution._runs import EMBEDDED

# Largest difference between the sum of what all writers write and the last stream, over its largest
# entry. Measured on random Qwen2 and GPT-2 models of 3 layers and the organism: float32 1e-6,
# bfloat16 1e-2, as the stream is rounded after each addition. Heads behind a norm (Gemma 2) give
# 0.3 and more.
_TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}


def writer_hooks(n_layers: int) -> list[str]:
    """Hooks of what writers write; of heads ``z``."""
    halves = ("attn.hook_z", "hook_mlp_out")
    return [EMBEDDED, *(f"blocks.{layer}.{h}" for layer in range(n_layers) for h in halves)]


def written(
    model: Any, activations: Mapping[str, Tensor], layer: int
) -> Float[Tensor, "n_writers pos d_model"]:
    """Vectors of the writers of one block, in the order of the graph; linear in the activations.

    Args:
        model: the model.
        activations: activations of one run, or their differences between two.
        layer: the block; -1 for the embeddings.

    Returns:
        Of each head and the MLP, float32; without the bias of the attention's output.
    """
    if layer < 0:
        return activations[EMBEDDED][None].float()
    heads = head_vectors(model, activations[f"blocks.{layer}.attn.hook_z"], layer)
    mlp = activations[f"blocks.{layer}.hook_mlp_out"].float()
    return torch.cat([heads, mlp[None]])


def head_vectors(
    model: Any, z: Float[Tensor, "pos head d_head"], layer: int, head: int | None = None
) -> Float[Tensor, "chosen pos d_model"]:
    """``z . W_O`` of each head of a block, or of one, float32."""
    W_O = output_weights(model, layer).to(z)
    if head is not None:
        W_O, z = W_O[head, None], z[:, head, None]
    return torch.einsum("phe,hed->hpd", z, W_O).float()


def output_weights(model: Any, layer: int) -> Float[Tensor, "head d_head d_model"]:
    """What each head's ``z`` is multiplied with before it is added; Granite scales that."""
    block = cast(Any, model.get_submodule(f"blocks.{layer}"))
    return block.attn.W_O.detach() * getattr(block, "residual_contribution_scale", 1.0)


def require_sum(
    model: Any, activations: Mapping[str, Tensor], last: Float[Tensor, "pos d_model"], caller: str
) -> None:
    """Refuse a model whose stream is not the sum of what its writers write.

    Args:
        model: the model.
        activations: the writers' activations in one run.
        last: its last stream.
        caller: the public function, to begin messages with.

    Raises:
        ValueError: their sum, with the biases of the attention's outputs, is another one.
    """
    total = torch.zeros_like(last, dtype=torch.float32)
    for layer in range(-1, model.cfg.n_layers):
        total += written(model, activations, layer).sum(0)
        if layer >= 0:
            block = cast(Any, model.get_submodule(f"blocks.{layer}"))
            scale = getattr(block, "residual_contribution_scale", 1.0)
            total += 0 if block.attn.b_O is None else block.attn.b_O.detach().float() * scale
    worst, size = (total - last.float()).abs().max().item(), last.abs().max().item()
    tolerance = _TOLERANCE[last.dtype]
    if not worst <= tolerance * size:
        raise ValueError(
            f"{caller}: embeddings, heads and MLPs add up to a stream that is off by {worst:.3g}, "
            f"expected at most {tolerance:g} of its size {size:.3g}. Does the model norm or scale "
            "what its heads write (Gemma 2, OLMo 2)? Nodes can be scored."
        )
