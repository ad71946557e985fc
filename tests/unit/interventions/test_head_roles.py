"""Roles of heads: by hand on hand-made patterns, and beside Hugging Face's attentions."""

import numpy as np
import polars as pl
import pytest
import torch


def sequence_of(words, kinds, n_tokens=None):
    from slm_lens.sequence.sequence import SpeechTextSequence
    from slm_lens.sequence.word_span import WordSpan

    tokens = torch.arange(n_tokens or len(kinds))
    return SpeechTextSequence(tokens, kinds, tuple(WordSpan(*w) for w in words))


@pytest.fixture
def mixed():
    """marker, fox x3, pause, dog x2, marker, " fox" written, marker, fox x2; one word without."""
    kinds = ("marker", *["speech"] * 6, "marker", "text", "marker", *["speech"] * 2)
    words = [
        ("fox", "speech", 1, 4),
        ("the", "speech", 4, 4),
        ("dog", "speech", 5, 7),
        ("Fox", "text", 8, 9),
        ("fox", "speech", 10, 12),
    ]
    return sequence_of(words, kinds)


# For each word: where each role looks; None where it does not occur.
BY_HAND = {
    0: ([1, 2], None, [0], None, [0]),
    2: ([5], [3], [0], None, [0]),
    3: (None, [6], [7], [1, 2, 3], [0]),
    4: ([10], [8], [9], [1, 2, 3, 8], [0]),
}


def test_where_each_role_looks_by_hand(mixed):
    from slm_lens.interventions.tracing._role_keys import HEAD_ROLES, role_keys

    assert HEAD_ROLES == ("own_units", "previous_word", "marker", "same_word", "first_position")
    found = role_keys(mixed, ("speech", "text"))
    assert found.words == (0, 2, 3, 4)
    assert found.queries.tolist() == [3, 6, 8, 11]
    for column, wanted in enumerate(BY_HAND.values()):
        for role, positions in enumerate(wanted):
            assert found.keys[role, column].nonzero()[:, 0].tolist() == (positions or [])
    assert role_keys(mixed, ("text",)).words == (3,)


def test_attention_by_hand(mixed):
    """One head looks at the position before, one at all alike, one at position 0."""
    from slm_lens.interventions.heads.head_roles import attention_to
    from slm_lens.interventions.tracing._role_keys import role_keys

    n = len(mixed)
    before = torch.diag(torch.ones(n - 1), -1)
    before[0, 0] = 1
    alike = torch.ones(n, n).tril() / torch.arange(1, n + 1)[:, None]
    first = torch.zeros(n, n)
    first[:, 0] = 1
    mass, uniform = attention_to(
        torch.stack([before, alike, first]), role_keys(mixed, ("speech", "text"))
    )
    queries = (3, 6, 8, 11)
    for column, (query, wanted) in enumerate(zip(queries, BY_HAND.values(), strict=True)):
        for role, positions in enumerate(wanted):
            if positions is None:
                assert mass[role, column].isnan().all()
                assert uniform[role, column].isnan()
                continue
            share = len(positions) / (query + 1)
            by_hand = [float(query - 1 in positions), share, float(0 in positions)]
            assert mass[role, column].tolist() == pytest.approx(by_hand)
            assert uniform[role, column].item() == pytest.approx(share)


def test_what_a_sliding_window_hides_is_not_visible(mixed):
    from slm_lens.interventions.heads.head_roles import attention_to
    from slm_lens.interventions.tracing._role_keys import role_keys

    n = len(mixed)
    near = torch.ones(n, n).tril() - torch.ones(n, n).tril(-4)  # each position and three before
    _, uniform = attention_to(
        (near / near.sum(1, keepdim=True))[None], role_keys(mixed, ("speech", "text"))
    )
    # From 11: 8 to 11 are seen. Own: 10; previous: 8; marker: 9; same: 8 of four; first: hidden.
    assert uniform[:, 3].tolist() == pytest.approx([1 / 4, 1 / 4, 1 / 4, 1 / 4, 0])


@pytest.fixture(scope="module")
def found(model, utterances):
    from slm_lens.interventions.heads.head_roles import head_roles

    return head_roles(model, utterances[:5], n_bootstrap=60, seed=2)


def test_masses_are_those_of_hugging_faces_attentions(found, hf_model, utterances):
    rows = found.to_frame()
    checked = 0
    for x in utterances[:5]:
        with torch.no_grad():
            attentions = hf_model(x.sequence.tokens[None], output_attentions=True).attentions
        last = None
        for i, w in enumerate(x.sequence.words):
            if w.start == w.end:
                continue
            query = w.end - 1
            at = rows.filter((pl.col("utterance") == x.name) & (pl.col("word_index") == i))
            wanted = {"own_units": list(range(w.start, query)), "marker": [0]}
            wanted["previous_word"] = [] if last is None else [last]
            for role, keys in wanted.items():
                of_role = at.filter(pl.col("role") == role)
                assert len(of_role) == (12 if keys else 0)
                for layer, head, mass, uniform in of_role.select(
                    "layer", "head", "mass", "uniform"
                ).iter_rows():
                    by_hand = attentions[layer][0, head, query, keys].sum().item()
                    assert mass == pytest.approx(by_hand, abs=1e-5)
                    assert uniform == pytest.approx(len(keys) / (query + 1), abs=1e-6)
                    checked += 1
            last = query
    assert checked > 500


def test_scores_are_means_with_intervals(found):
    rows = found.to_frame().with_columns(excess=pl.col("mass") - pl.col("uniform"))
    scores = found.scores()
    assert len(scores) == 12 * scores["role"].n_unique()
    one = rows.filter(
        (pl.col("role") == "own_units") & (pl.col("layer") == 1) & (pl.col("head") == 2)
    )
    row = scores.filter(
        (pl.col("role") == "own_units") & (pl.col("layer") == 1) & (pl.col("head") == 2)
    ).row(0, named=True)
    assert row["excess"] == pytest.approx(one["excess"].mean(), abs=1e-6)
    assert row["mass"] == pytest.approx(one["mass"].mean(), abs=1e-6)
    assert row["n_words"] == len(one)
    names = [f"sentence {i}" for i in range(5)]
    sums = np.array([one.filter(pl.col("utterance") == x)["excess"].sum() for x in names])
    counts = np.array([len(one.filter(pl.col("utterance") == x)) for x in names])
    draws = np.random.default_rng(2).multinomial(5, [0.2] * 5, size=60)
    low, high = np.quantile((draws @ sums) / (draws @ counts), [0.025, 0.975])
    assert (row["low"], row["high"]) == pytest.approx((low, high), abs=1e-6)
    of_role = scores.filter(pl.col("role") == "own_units")["excess"]
    assert of_role.is_sorted(descending=True)


def test_the_top_heads_are_those_of_the_highest_excess(found):
    first = found.scores().filter(pl.col("role") == "marker").head(2)
    tops = found.top("marker", 2)
    assert [(s.kind, s.layer, s.head) for s in tops] == [
        ("z", layer, head) for layer, head in first.select("layer", "head").iter_rows()
    ]


def test_only_some_layers_and_no_pattern_is_kept(model, utterances, found):
    from slm_lens.interventions.heads.head_roles import head_roles

    some = head_roles(model, utterances[:5], layers=[2], n_bootstrap=2)
    assert torch.equal(some.mass.nan_to_num(-1)[:, :, 0], found.mass.nan_to_num(-1)[:, :, 2])
    assert model.provenance.hooks == ()
    assert found.provenance.forward == "hooked"


def test_what_does_not_fit_is_refused(model, utterances, found):
    from slm_lens.interventions.heads.head_roles import head_roles
    from slm_lens.sequence.utterance import Utterance

    with pytest.raises(ValueError, match="head_roles: got 0 runs with the repeated names"):
        head_roles(model, [])
    with pytest.raises(ValueError, match="head_roles: found no word with a position in 12 utter"):
        head_roles(model, utterances, modalities=["text"])
    with pytest.raises(ValueError, match="sites: got layer 7 of a model of 3 layers"):
        head_roles(model, utterances, layers=[7])
    model.train()
    try:
        with pytest.raises(ValueError, match="head_roles: got a model in training mode"):
            head_roles(model, utterances)
    finally:
        model.eval()
    with pytest.raises(ValueError, match=r"HeadRoles.top: got role='marker' and n=13, expected"):
        found.top("marker", 13)
    alone = [
        Utterance("x", sequence_of([("fox", "speech", 0, 2)], ("speech", "speech"))),
    ]
    with pytest.raises(ValueError, match=r"role='same_word' and n=1, expected a role of \['first"):
        head_roles(model, alone, n_bootstrap=2).top("same_word", 1)
