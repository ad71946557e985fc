"""Recall of current and next words from raw hidden states, with numpy alone.

An independent check of the phases: no slm_lens, no torch. Everything is computed again, in float64,
from what a Hugging Face model holds:

    python tests/oracles/numpy_recall.py states.npz

The file has ``ln_weight [d_model]``, ``ln_eps []``, ``W_U [d_vocab, d_model]``, ``text [d_vocab]``
(True for text rows), and for each utterance ``u`` = 0, 1, ...:

* ``states_u [layer, pos, d_model]``: the input of the first block, then the output of each block;
* ``spans_u [n_words, 2]``: half-open positions of each spoken word that has any;
* ``current_u, next_u [n_words, n_targets]``: token ids of the word and of the next, filled with -1;
* ``counts_current_u, counts_next_u [n_words]``: whether the word enters that recall.
"""

import sys

import numpy as np

KS = (1, 5, 10)


def rms_norm(states, weight, eps):
    """Qwen2 and Llama: x / sqrt(mean(x^2) + eps) * weight."""
    states = states.astype(np.float64)
    return states / np.sqrt((states**2).mean(-1, keepdims=True) + eps) * weight


def rank(scores, targets, competes):
    """1 + number of competing rows that score strictly higher than the best target."""
    best = max(scores[t] for t in targets if t >= 0)
    return 1 + int((scores[competes] > best).sum())


def recalls(data):
    """Share of hits by (target, vocab, pool, k), as a list over layers."""
    text = data["text"].astype(bool)
    vocabs = {"text": text, "full": np.ones_like(text)}
    hits, n = {}, {"current": 0, "next": 0}
    u = 0
    while f"states_{u}" in data:
        states = data[f"states_{u}"]
        for target in n:
            n[target] += int(data[f"counts_{target}_{u}"].sum())
        for layer in range(len(states)):
            normed = rms_norm(states[layer], data["ln_weight"], data["ln_eps"])
            logits = normed @ data["W_U"].astype(np.float64).T
            for w, (start, end) in enumerate(data[f"spans_{u}"]):
                pooled = {"max": logits[start:end].max(0), "last": logits[end - 1]}
                for target in n:
                    if not data[f"counts_{target}_{u}"][w]:
                        continue
                    for vocab, competes in vocabs.items():
                        for pool, scores in pooled.items():
                            r = rank(scores, data[f"{target}_{u}"][w], competes)
                            for k in KS:
                                curve = hits.setdefault((target, vocab, pool, k), [0] * len(states))
                                curve[layer] += r <= k
        u += 1
    return {key: [h / n[key[0]] for h in curve] for key, curve in hits.items()}


if __name__ == "__main__":
    with np.load(sys.argv[1]) as loaded:
        for key, curve in recalls(dict(loaded)).items():
            sys.stdout.write(" ".join([*map(str, key), *(f"{x:.4f}" for x in curve)]) + "\n")
