"""Gradients of the stream that each reader reads, one block at a time.

A query head h reads ``q_h = W_Q[h] ln1(x) + b``, so the gradient of *its* copy of the stream x is
``J_ln1(x)^T W_Q[h] dM/dq_h``: a matrix product, and a vector-Jacobian product of the norm alone.
Keys and values of a group are read once, with the gradient of the whole group. Nothing is copied
once for each head in the model's own run, and no group is taken apart.
"""

from collections.abc import Mapping
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

# Largest difference between the readers' gradients and that of the norm's output, over its largest
# entry: measured 1e-6 in float32. A gate on the attention, which reads the stream too, adds to it.
_TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-3, torch.float16: 5e-2, torch.bfloat16: 2e-1}


def graph_hooks(n_layers: int) -> list[str]:
    """Hooks whose activations must be in the graph."""
    inner = ("hook_resid_pre", "hook_resid_mid", "ln1.hook_out", "ln2.hook_out")
    inner += ("attn.hook_q", "attn.hook_k", "attn.hook_v")
    last = f"blocks.{n_layers - 1}.hook_resid_post"
    return [*(f"blocks.{layer}.{name}" for layer in range(n_layers) for name in inner), last]


def slope_hooks(n_layers: int) -> list[str]:
    """Hooks of which the gradients are needed."""
    return [name for name in graph_hooks(n_layers) if not name.endswith(("resid_pre", "resid_mid"))]


def reader_gradients(
    model: Any, graph: Mapping[str, Tensor], slopes: Mapping[str, Tensor], layer: int
) -> Float[Tensor, "n_readers pos d_model"]:
    """Gradients of the inputs of one block's readers, in the order of the graph.

    Args:
        model: the model.
        graph: activations of one graph, with the batch axis.
        slopes: gradients, without it.
        layer: the block; the number of blocks for the logits.

    Returns:
        Gradient of each reader's copy of the stream, float32.

    Raises:
        ValueError: something else reads the normed stream as well.
    """  # noqa: DOC502 (raised by _require_all)
    if layer == model.cfg.n_layers:
        return slopes[f"blocks.{layer - 1}.hook_resid_post"][None].float()
    block = f"blocks.{layer}"
    attention = cast(Any, model.get_submodule(f"{block}.attn"))
    of_heads = torch.cat(
        [
            torch.einsum("phe,hde->hpd", slopes[f"{block}.attn.hook_{name}"], weight.detach())
            for name, weight in (("q", attention.W_Q), ("k", attention.W_K), ("v", attention.W_V))
        ]
    )
    _require_all(of_heads, slopes[f"{block}.ln1.hook_out"], layer)
    before, behind = graph[f"{block}.hook_resid_pre"], graph[f"{block}.hook_resid_mid"]
    found = [_through(graph[f"{block}.ln1.hook_out"], before, g) for g in of_heads]
    found.append(_through(graph[f"{block}.ln2.hook_out"], behind, slopes[f"{block}.ln2.hook_out"]))
    return torch.stack(found).float()


def _through(normed: Tensor, stream: Tensor, gradient: Tensor) -> Float[Tensor, "pos d_model"]:
    """Vector-Jacobian product of a norm, in the graph of the run."""
    return torch.autograd.grad(normed, stream, gradient[None], retain_graph=True)[0][0]


def _require_all(of_heads: Tensor, whole: Tensor, layer: int) -> None:
    worst = (of_heads.float().sum(0) - whole.float()).abs().max().item()
    size = whole.float().abs().max().item()
    if not worst <= _TOLERANCE[whole.dtype] * size:
        raise ValueError(
            f"attribute_edges: queries, keys and values of layer {layer} make up a gradient that "
            f"is off by {worst:.3g} of {size:.3g}, expected nothing else to read the normed "
            "stream. Does the attention have a gate? Nodes can be scored."
        )
