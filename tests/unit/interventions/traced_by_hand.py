"""Causal tracing written out with plain PyTorch hooks on the Hugging Face model: the oracle."""

from contextlib import ExitStack

import torch
from transformer_lens.utilities.statistics import derive_generator


def first_of(output):
    return output[0] if isinstance(output, tuple) else output


def put_into(output, new):
    return (new, *output[1:]) if isinstance(output, tuple) else new


@torch.no_grad()
def forward(hf, tokens, *, noise=None, put=()):
    """Logits after the last token and every activation, ``(kind, layer) -> [pos, d_model]``.

    ``noise`` is added to the embeddings; ``put`` has (kind, layer, positions, values).
    """
    seen = {}
    stream = {}

    def replaced(kind, layer, state):
        new = state.clone()
        for k, i, where, values in put:
            if (k, i) == (kind, layer):
                new[0, where] = values
        seen[kind, layer] = new[0].clone()
        return new

    def embedded(_m, _a, output):
        return output if noise is None else output + noise[None]

    def block_in(layer):
        def hook(_m, args):
            stream[layer] = replaced("resid_pre", layer, args[0])
            return (stream[layer], *args[1:])

        return hook

    def after(kind, layer):
        def hook(_m, _a, output):
            new = replaced(kind, layer, first_of(output))
            if kind == "attn_out":  # what stands in the middle is the block's input and this
                middle = replaced("resid_mid", layer, stream[layer] + new)
                new = middle - stream[layer]
            return put_into(output, new)

        return hook

    with ExitStack() as undo:
        add = [hf.model.embed_tokens.register_forward_hook(embedded)]
        for i, block in enumerate(hf.model.layers):
            add.append(block.register_forward_pre_hook(block_in(i)))
            add.append(block.self_attn.register_forward_hook(after("attn_out", i)))
            add.append(block.mlp.register_forward_hook(after("mlp_out", i)))
            add.append(block.register_forward_hook(after("resid_post", i)))
        for handle in add:
            undo.callback(handle.remove)
        logits = hf(input_ids=tokens[None], use_cache=False).logits[0, -1]
    return logits, seen


def noise_of(prompt, sigma, seed, n_samples, d_model=16):
    start, end = prompt.span
    drawn = torch.randn(
        n_samples, end - start, d_model, generator=derive_generator(seed, "noise", prompt.name)
    )
    whole = torch.zeros(n_samples, len(prompt.sequence), d_model)
    whole[:, start:end] = sigma * drawn
    return whole


def probability(logits, answer):
    return float(logits.double().softmax(-1)[list(answer)].sum())


def effects(hf, prompt, noises, *, restored, severed=()):
    """Mean over noise samples of (corrupted, restored) probability of the answer.

    ``restored`` are (kind, layer, positions) with clean values, ``severed`` likewise corrupted.
    """
    tokens = prompt.sequence.tokens
    _, clean = forward(hf, tokens)
    found = []
    for noise in noises:
        low, corrupted = forward(hf, tokens, noise=noise)
        put = [(k, i, at, clean[k, i][at]) for k, i, at in restored]
        put += [(k, i, at, corrupted[k, i][at]) for k, i, at in severed]
        high, _ = forward(hf, tokens, noise=noise, put=put)
        found.append((probability(low, prompt.answer), probability(high, prompt.answer)))
    return tuple(torch.tensor(found, dtype=torch.float64).mean(0).tolist())
