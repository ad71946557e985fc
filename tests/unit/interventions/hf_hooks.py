"""The oracle: plain PyTorch hooks on the Hugging Face model, written without slm_lens.

Positions are those of the whole sequence; every run is one forward pass without a cache.
"""

from contextlib import contextmanager

import torch


@contextmanager
def added(hf_model, kind, layer, start, end, vectors):
    """Add vectors ``[n, d_model]`` to the stream at positions ``[start, end)``."""

    def add(states):
        states = states.clone()
        stop = min(end, states.shape[1])
        if stop > start:
            states[:, start:stop] += vectors[: stop - start]
        return states

    with edited(hf_model, kind, layer, add):
        yield


@contextmanager
def edited(hf_model, kind, layer, edit):
    """Replace an activation of a block by what ``edit`` makes of it."""
    block = hf_model.model.layers[layer]

    def tuple_or_not(output):
        return (edit(output[0]), *output[1:]) if isinstance(output, tuple) else edit(output)

    if kind == "resid_pre":
        handle = block.register_forward_pre_hook(lambda _, args: (edit(args[0]), *args[1:]))
    elif kind == "resid_post":
        handle = block.register_forward_hook(lambda _m, _a, output: tuple_or_not(output))
    elif kind == "attn_out":
        handle = block.self_attn.register_forward_hook(lambda _m, _a, out: tuple_or_not(out))
    elif kind == "mlp_out":
        handle = block.mlp.register_forward_hook(lambda _m, _a, output: tuple_or_not(output))
    elif kind == "z":
        handle = block.self_attn.o_proj.register_forward_pre_hook(
            lambda _, args: (edit(args[0]), *args[1:])
        )
    else:
        raise AssertionError(kind)
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def logits_of(hf_model, tokens):
    return hf_model(input_ids=tokens, use_cache=False).logits


@torch.no_grad()
def generated(hf_model, tokens, n_new):
    """Greedy, one whole forward pass for every token."""
    for _ in range(n_new):
        tokens = torch.cat([tokens, logits_of(hf_model, tokens)[:, -1:].argmax(-1)], dim=1)
    return tokens
