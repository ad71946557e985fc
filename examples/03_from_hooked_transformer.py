# %% [markdown]
# # From HookedTransformer to slm-lens
# One claim: code for `HookedTransformer` goes on to work. Same hook names, same cache, and
# TransformerLens' own tools take the model as it is; its logit lens and ours agree.

# %%
import argparse

import torch
from transformer_lens import ActivationCache
from transformer_lens.tools.analysis import logit_lens

import slm_lens

parser = argparse.ArgumentParser()
parser.add_argument("--tiny", action="store_true", help="the first 32 tokens")
options, _ = parser.parse_known_args()  # a notebook has arguments of its own

# %% [markdown]
# Before: `model = HookedTransformer.from_pretrained("gpt2")`, and a string as input. Now the input
# is the token ids of a spoken sentence.

# %%
model = slm_lens.load("organism")
sound, _ = slm_lens.clips_of("held-out")[0]
tokens = model.sequence_from_audio(sound).tokens[None, : 32 if options.tiny else None]
print(model.to_str_tokens(tokens)[:8])

# %% [markdown]
# From here on nothing differs.

# %%
with torch.no_grad():
    logits, cache = model.run_with_cache(tokens)
assert isinstance(cache, ActivationCache)
print("hook_resid_post:", tuple(cache["blocks.3.hook_resid_post"].shape), "[batch, pos, d_model]")
print("pattern:", tuple(cache["pattern", 3].shape), "[batch, head, pos, pos]")
parts = cache.decompose_resid(layer=-1)
assert isinstance(parts, torch.Tensor)  # with return_labels=True it is a pair
gap = (parts.sum(0) - cache["resid_post", model.cfg.n_layers - 1]).abs().max()
print(f"attention and MLP outputs sum to the residual stream, up to {gap:.1g}")


def silence_head(pattern: torch.Tensor, hook: object) -> torch.Tensor:  # noqa: ARG001
    """Zero ablation of head 0: it attends to nothing."""
    pattern = pattern.clone()
    pattern[:, 0] = 0
    return pattern


with torch.no_grad():
    changed = model.run_with_hooks(tokens, fwd_hooks=[("blocks.3.attn.hook_pattern", silence_head)])
print(
    f"without head 3.0 the last logits change by up to {(changed - logits)[0, -1].abs().max():.3g}"
)

# %% [markdown]
# TransformerLens' logit lens takes the model. Ours gives the logits themselves, which are needed
# for words: a word's rank is taken within text, after pooling over its positions.

# %%
theirs = logit_lens(model, tokens[:, :-1], positions=None, targets=tokens[:, 1:])
stack = slm_lens.residual_stack(model, tokens[:, :-1])  # [layer, batch, pos, d_model]
ours = slm_lens.LogitLens(model)(stack)  # [layer, batch, pos, d_vocab]
wanted = ours.gather(-1, tokens[:, 1:].expand(len(stack), -1, -1)[..., None])
ranks = (ours > wanted).sum(-1)  # of the true next unit, from 0
for label, by_layer in zip(theirs.labels, ranks, strict=True):
    print(f"{label:>11}: median rank of the next unit {int(by_layer.median())}")

# %%
agree = (ranks == theirs.rank_trajectory()).double().mean()
print(f"share of ranks on which both lenses agree: {agree:.4f}")
