"""Word tables written by hand, so that recalls can be computed on paper."""

import polars as pl

from slm_lens.lens.word_lens import WordLens
from slm_lens.model.provenance import Provenance

PROVENANCE = Provenance(
    name="by hand",
    family="sims",
    architecture="Qwen2ForCausalLM",
    dtype="float32",
    attention="eager",
    adapter=None,
    compatibility_mode=False,
    weights_processed=False,
    random_weights_seed=None,
)


def word_table(words, *, n_layers, n_text=100, n_speech=20, d_vocab=130, **fields):
    """A `WordLens` from words with ranks by layer.

    Each word is a dict with ``utterance``; ``current`` and ``next``: rank at each layer, or None;
    ``content`` and ``next_content`` (default True); ``speech``: speech mass at each layer (default
    0); ``shuffled``: list of ranks at each layer (default: rank 50, once).
    """
    rows = []
    for i, w in enumerate(words):
        for layer in range(n_layers + 1):
            rows.append(_row(i, w, layer))
    table = pl.DataFrame(rows, infer_schema_length=None)
    lists = [c for c in table.columns if c.startswith(("shuffled", "frequency"))]
    ranks = [c for c in table.columns if "rank_" in c and not c.startswith("reciprocal")]
    return WordLens(
        table=table.with_columns(
            pl.col(lists).cast(pl.List(pl.Int32)), pl.col(ranks).cast(pl.Int32)
        ),
        n_layers=n_layers,
        d_vocab=d_vocab,
        n_text=n_text,
        n_speech=n_speech,
        **{
            "provenance": PROVENANCE,
            "policy": "whole_word",
            "n_draws": 2,
            "seed": 0,
            "words_without_tokens": {},
            "words_without_positions": {},
            **fields,
        },
    )


def _row(index, w, layer):
    speech = w.get("speech", [0.0] * (layer + 1))[layer]
    row = {
        "utterance": w["utterance"],
        "word_index": index,
        "layer": layer,
        "next_word": None if w.get("is_last") else "next",
        "is_content": w.get("content", True),
        "next_is_content": None if w.get("is_last") else w.get("next_content", True),
        "n_targets_current": 0 if w.get("current") is None else w.get("n_targets", 1),
        "n_targets_next": 0 if w.get("next") is None else 1,
        "next_targets_meet": w.get("meet", False),
        "reciprocal_rank_next_unit": 0.5,
        "next_unit_hit": 0.25,
    }
    for target in ("current", "next"):
        ranks = w.get(target)
        for vocab in ("text", "full"):
            for pool in ("max", "last"):
                row[f"rank_{target}_{vocab}_{pool}"] = None if ranks is None else ranks[layer]
        drawn = w.get("shuffled", [[50]] * (layer + 1))[layer]
        for control in ("shuffled", "frequency_matched"):
            for pool in ("max", "last"):
                row[f"{control}_{target}_text_{pool}"] = None if ranks is None else drawn
    for measure in ("mass", "argmax", "top10"):
        row |= {f"text_{measure}": 1 - speech, f"speech_{measure}": speech}
        row[f"other_{measure}"] = 0.0
    return row
