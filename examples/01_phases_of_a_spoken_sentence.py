# %% [markdown]
# # The phases of one spoken sentence
# One claim: at each layer, the text token that a model favours while it hears a word can be read
# with the logit lens, although sound goes in and sound comes out. `.` marks the word itself, `>`
# the word that follows. One sentence is an illustration; `slm-lens phases` has the controls.

# %%
import argparse

import torch

import slm_lens

parser = argparse.ArgumentParser()
parser.add_argument("--model", default="organism", help="'organism-control' was taught to write")
parser.add_argument("--tiny", action="store_true", help="the first six words")
options, _ = parser.parse_known_args()  # a notebook has arguments of its own

# %% [markdown]
# A clip of the package, its word times, and the model's units for it.

# %%
model = slm_lens.load(options.model)
sound, word_times = slm_lens.clips_of("held-out")[0]
sequence = model.sequence_from_audio(sound, slm_lens.read_alignment(word_times))
heard = [(i, w) for i, w in enumerate(sequence.words) if w.end > w.start]
heard = heard[:6] if options.tiny else heard[:12]
print(" ".join(w.word for w in sequence.words))

# %% [markdown]
# The residual stream before the first block (layer 0) and after each block, read by the model's
# own final norm and unembedding. A word covers several positions: each text token gets its largest
# logit among them. Rows that are not text do not compete.

# %%
stack = slm_lens.residual_stack(model, sequence.tokens[None])[:, 0]  # [layer, pos, d_model]
lens = slm_lens.LogitLens(model)
not_text = ~model.vocab.mask("text")


def favourite(layer: int, word: slm_lens.WordSpan) -> int:
    """Token id that the layer favours in text over the word's positions."""
    logits = lens(stack[layer, word.start : word.end])  # [pos, d_vocab]
    return int(logits.amax(0).masked_fill(not_text, -torch.inf).argmax())


# %% [markdown]
# One row for each layer, one column for each word.

# %%
own = [model.vocab.word_tokens(w.word, "whole_word") for _, w in heard]
following = [
    model.vocab.word_tokens(sequence.words[i + 1].word, "whole_word")
    if i + 1 < len(sequence.words)
    else ()
    for i, _ in heard
]
print("layer " + "".join(f"{w.word:>13}" for _, w in heard))
hits = torch.zeros(len(stack), len(heard))
for layer in range(len(stack)):
    cells = []
    for i, (_, word) in enumerate(heard):
        token = favourite(layer, word)
        hits[layer, i] = token in own[i]
        mark = "." if token in own[i] else ">" if token in following[i] else " "
        cells.append(f"{model.vocab.label(token).strip():>12}{mark}")
    print(f"{layer:>5} " + "".join(cells))

# %% [markdown]
# The number: how many of these words their best layer names. It was chosen among all layers, and
# the sentence is one: do not quote it without controls.

# %%
recall = hits.mean(1)
print(f"recall@1 of the word itself, at layer {int(recall.argmax())}: {recall.max():.4f}")
