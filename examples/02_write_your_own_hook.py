# %% [markdown]
# # Write your own hook
# One claim: what the residual stream holds at a spoken word's positions is used later on. A
# hook replaces it, in one layer, by the mean over the sentence so far (mean ablation), and the
# log-likelihood of the *next* word's units changes. Control: as many earlier positions, drawn at
# random. Only predictions made after the word count, so the last layer must have no effect.

# %%
import argparse
from functools import partial

import torch
from torch import Tensor

import slm_lens

parser = argparse.ArgumentParser()
parser.add_argument("--tiny", action="store_true", help="one sentence, two words")
options, _ = parser.parse_known_args()  # a notebook has arguments of its own

model = slm_lens.load("organism")
clips = slm_lens.clips_of("held-out")[: 1 if options.tiny else 5]


# %% [markdown]
# A hook is a function of the activation, as in TransformerLens. This one changes some positions.


# %%
def mean_ablate(resid: Tensor, hook: object, positions: list[int], end: int) -> Tensor:  # noqa: ARG001
    """At `positions` of [batch, pos, d_model], put the mean over all positions before `end`."""
    resid = resid.clone()
    resid[:, positions] = resid[:, :end].mean(1, keepdim=True)
    return resid


def log_likelihood(tokens: Tensor, heard: range, fwd_hooks: list) -> float:
    """Mean log-probability in nats of the units at the positions `heard`."""
    with torch.no_grad():
        logits = model.run_with_hooks(tokens[None], fwd_hooks=fwd_hooks)[0]
    predicted = logits.float().log_softmax(-1)[heard.start - 1 : heard.stop - 1]
    return predicted.gather(1, tokens[heard.start : heard.stop, None]).mean().item()


# %% [markdown]
# For each content word: ablate it, or as many positions before it, in every layer.

# %%
generator = torch.Generator().manual_seed(0)
effects: list[list[list[float]]] = []  # [word, layer, (word, control)]
for sound, word_times in clips:
    sequence = model.sequence_from_audio(sound, slm_lens.read_alignment(word_times))
    pairs = list(zip(sequence.words, sequence.words[1:], strict=False))[4:]  # room for the control
    content = [
        (w, after)
        for w, after in pairs
        if w.word not in slm_lens.ENGLISH_FUNCTION_WORDS and after.end - after.start > 1
    ]
    for word, after in content[: 2 if options.tiny else 4]:
        size = word.end - word.start
        others = torch.randperm(word.start, generator=generator)[:size].tolist()
        heard = range(after.start + 1, after.end)  # predicted from positions after the word
        plain = log_likelihood(sequence.tokens, heard, [])
        effects.append([])
        for layer in range(model.cfg.n_layers):
            name = f"blocks.{layer}.hook_resid_post"
            changes = []
            for positions in (list(range(word.start, word.end)), others):
                hook = partial(mean_ablate, positions=positions, end=word.end)
                changes.append(log_likelihood(sequence.tokens, heard, [(name, hook)]) - plain)
            effects[-1].append(changes)

# %%
print(f"{len(effects)} words; change of the next word's units in nats a unit")
print("hook                          the word   other positions")
mean = torch.tensor(effects).mean(0)
for layer, (of_word, of_others) in enumerate(mean.tolist()):
    print(f"blocks.{layer}.hook_resid_post   {of_word:>13.4f} {of_others:>17.4f}")
print(f"strongest effect of the word: {mean[:, 0].min():.4f}")
