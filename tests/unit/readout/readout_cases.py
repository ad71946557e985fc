"""Random cases for the pass over the vocabulary, and whole rows of logits to check it against.

Whole-number weights and states make every product exact, so that ranks, ties and top tokens have to
be equal whatever the shape of the product was.
"""

from typing import Any

import numpy as np
import pytest
import torch
import whole_rows as oracle
from hypothesis import strategies as st

from slm_lens.readout._block import Site
from slm_lens.readout.parts import VocabParts
from slm_lens.readout.unembedding import Unembedding
from slm_lens.readout.wanted import NO_RANK, NO_TOKEN, Wanted

NAMES = ("text", "units", "pitch", "other")
SUBSETS = {"text": ("text",), "speech": ("units", "pitch"), "full": NAMES}
ALL = ("rank", "log_prob", "mass", "entropy", "log_normaliser", "top_k")


def at_positions(statistics: Any, *further: Any, **options: Any) -> dict[Site, Wanted]:
    return {"position": Wanted(frozenset(statistics), *further, **options)}


def make_parts(part_of):
    return VocabParts(torch.as_tensor(part_of), NAMES, SUBSETS)


def ids_of(parts, subset):
    members = [NAMES.index(name) for name in SUBSETS[subset]]
    return np.flatnonzero(np.isin(parts.part_of.numpy(), members)).tolist()


def whole(generator, *shape, top=2):
    return torch.randint(-top, top + 1, shape, generator=generator).float()


def cases(*, d_vocab=90, n_layers=3, n_pos=9, tile_columns=(1, 100)):
    """What a case is made from; sizes are the largest ones."""
    return st.fixed_dictionaries(
        {
            "seed": st.integers(0, 9999),
            "d_vocab": st.integers(4, d_vocab),
            "d_model": st.integers(1, 9),
            "is_sorted": st.booleans(),
            "has_bias": st.booleans(),
            "is_capped": st.booleans(),
            "dtype": st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
            "n_layers": st.integers(1, n_layers),
            "n_pos": st.integers(1, n_pos),
            "rows": st.integers(1, 12),
            "tile_columns": st.integers(*tile_columns),
        }
    )


def make(drawn):
    """Weights, states of some layers, parts in blocks or mixed, sizes of tiles."""
    generator = torch.Generator().manual_seed(drawn["seed"])
    d_vocab, d_model = drawn["d_vocab"], drawn["d_model"]
    part_of = torch.randint(4, (d_vocab,), generator=generator)
    part_of[:4] = torch.arange(4)  # every part has a token
    part_of = part_of.sort().values if drawn["is_sorted"] else part_of
    weight = whole(generator, d_vocab, d_model).to(drawn["dtype"])
    bias = whole(generator, d_vocab) if drawn["has_bias"] else None
    cap = (lambda z: z.clamp(-9, 9)) if drawn["is_capped"] else None
    return {
        "generator": generator,
        "states": whole(generator, drawn["n_layers"], drawn["n_pos"], d_model),
        "unembedding": Unembedding(weight, bias, cap),
        "parts": make_parts(part_of),
        "sizes": {name: drawn[name] for name in ("rows", "tile_columns")},
    }


def logits_of(case):
    u = case["unembedding"]
    z = case["states"] @ u.weight.float().T
    z = z if u.bias is None else z + u.bias
    return (z if u.transform is None else u.transform(z)).numpy()


def check(read, rows, targets, parts, k):
    """One site: `rows` are logits [lead, row, d_vocab]; targets [row][set][token]."""
    full = oracle.log_softmax(rows)
    for i, name in enumerate(NAMES):
        mass = np.exp(full)[..., parts.part_of.numpy() == i].sum(-1)
        assert read.mass[name].numpy() == pytest.approx(mass, abs=1e-5)
    for subset in SUBSETS:
        ids = ids_of(parts, subset)
        within = rows[..., ids]
        assert read.entropy[subset].numpy() == pytest.approx(oracle.entropy(within), abs=1e-5)
        log_normaliser = within[..., 0] - oracle.log_softmax(within)[..., 0]
        assert read.log_normaliser[subset].numpy() == pytest.approx(log_normaliser, abs=1e-5)
        for lead, pos in np.ndindex(rows.shape[:2]):
            expected = oracle.top_ids(rows[lead, pos], ids, k)
            found = read.top_k[subset].ids[lead, pos].tolist()
            assert found == expected + [NO_TOKEN] * (k - len(expected))
            values = read.top_k[subset].logits[lead, pos].tolist()
            assert values[: len(expected)] == rows[lead, pos][expected].tolist()
            assert values[len(expected) :] == [-np.inf] * (k - len(expected))
            for s, wanted in enumerate(targets[pos]):
                competes = wanted and set(wanted) <= set(ids)
                rank = oracle.rank(rows[lead, pos], wanted, ids) if competes else NO_RANK
                assert read.rank[subset][lead, pos, s] == rank
                best = max((rows[lead, pos][i] for i in wanted), default=0)
                log_prob = best - log_normaliser[lead, pos] if competes else np.nan
                assert read.log_prob[subset][lead, pos, s].item() == pytest.approx(
                    log_prob, abs=1e-5, nan_ok=True
                )
