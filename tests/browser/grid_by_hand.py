"""A lens grid of the spoken sentence by hand: numbers drawn at random, tokens that want to run."""

from typing import Any

import torch
from spoken_by_hand import FIRST_UNIT, LABELS, N_UNITS, make_sequence, make_vocab, unit

N_LAYERS, K, D_VOCAB = 3, 3, 516


def make_provenance():
    from slm_lens.model.provenance import Provenance

    return Provenance(
        "m", "sims", "Qwen2ForCausalLM", "float32", "sdpa", None, False, False, None, "fast"
    )


def make_cells(spans, words, followed, seed):
    from slm_lens.lens.grid_result import GridCells

    generator = torch.Generator().manual_seed(seed)
    shape = (N_LAYERS + 1, len(spans))
    logits = torch.randn(*shape, D_VOCAB, generator=generator) * 3
    logits[..., 13:510] -= 3  # few units, so that labels stay few
    cells = {"ids": {}, "log_prob": {}, "rank": {}, "followed": {}}
    for subset, n in (("text", len(LABELS)), ("full", D_VOCAB)):
        log_p = logits[..., :n].log_softmax(-1)
        top = log_p.topk(K)
        cells["ids"][subset], cells["log_prob"][subset] = top.indices, top.values
        best = torch.stack(
            [log_p[..., [t for t in f.tokens if t < n] or [0]].amax(-1) for f in followed], -1
        )
        known = torch.tensor([all(t < n for t in f.tokens) for f in followed])
        rank = 1 + (log_p[..., None, :] > best[..., None]).sum(-1)
        cells["rank"][subset] = rank * known
        cells["followed"][subset] = best.masked_fill(~known, torch.nan)
    p = logits.softmax(-1)
    parts = (p[..., : len(LABELS)], p[..., FIRST_UNIT : FIRST_UNIT + N_UNITS])
    text, speech = (part.sum(-1) for part in parts)
    return GridCells(
        spans=torch.tensor(spans),
        words=tuple(words),
        top_ids=cells["ids"],
        top_log_prob=cells["log_prob"],
        mass=torch.stack([text, speech, 1 - text - speech], -1),
        rank=cells["rank"],
        log_prob=cells["followed"],
    )


def make_grid(name="clip", seed=0):
    """Words 0, 1, 3 and 4 of `make_sequence` and all its positions; word 2 has none."""
    from slm_lens.lens.grid_result import Followed, LensGrid
    from slm_lens.vocab import TOKEN_KINDS

    sequence, vocab = make_sequence(), make_vocab()
    followed = (
        Followed("the", (0, 1), True),
        Followed("fox", (2,), True),
        Followed("a<b", (4,), True),
        Followed(LABELS[3], (3,), False),
        Followed("<Un137>", (unit(137),), False),
    )
    rows = [0, 1, 3, 4]
    spans = [[sequence.words[i].start, sequence.words[i].end] for i in rows]
    n = len(sequence)
    of_word = [
        next((i for i, w in enumerate(sequence.words) if w.start <= p < w.end), None)
        for p in range(n)
    ]
    cells: dict[Any, Any] = {
        "max": make_cells(spans, rows, followed, seed),
        "last": make_cells(spans, rows, followed, seed + 1),
        "position": make_cells([[p, p + 1] for p in range(n)], of_word, followed, seed + 2),
    }
    return LensGrid(
        utterance=name,
        tokens=sequence.tokens,
        kinds=sequence.kinds,
        words=sequence.words,
        followed=followed,
        word_followed=(0, None, None, 1, 2),
        cells=cells,
        labels={t: vocab.label(t) for t in range(D_VOCAB)},
        label_kinds={t: TOKEN_KINDS[int(vocab.kind_of[t])] for t in range(D_VOCAB)},
        units={unit(u): ("units", u) for u in range(N_UNITS)},
        n_layers=N_LAYERS,
        n_text=len(LABELS),
        d_vocab=D_VOCAB,
        k=K,
        policy="whole_word",
        lens="logit lens",
        provenance=make_provenance(),
    )


def shown(grid, token):
    """A token as views write it."""
    if token in grid.units:
        return str(grid.units[token][1])
    label = grid.labels[token]
    if grid.label_kinds[token] != "text":
        return label.removeprefix("<").removesuffix(">")
    for character, sign in ((" ", "·"), ("\n", "¶")):
        label = label.replace(character, sign)
    return label
