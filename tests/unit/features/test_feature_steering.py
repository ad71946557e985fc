"""Steering with features against the model under hooks, and the tables of a dashboard by hand."""

from dataclasses import replace

import polars as pl
import pytest
import torch


@pytest.fixture(scope="module")
def dictionary(tiny_model):
    """48 random directions of the last layer but one, and utterances that they were made on."""
    from slm_lens.features.autoencoder import random_sae, stream_site
    from slm_lens.features.states import position_states
    from slm_lens.sequence.utterance import Utterance

    texts = ["the zebra lives in the desert", "the lion is striped", "the savanna"]
    written = [Utterance(t, tiny_model.sequence_from_text(t)) for t in texts]
    states = position_states(tiny_model, written, [1])
    sae = random_sae(states.at(1), 48, k=6.0, seed=5, site=stream_site(tiny_model, 1))
    return sae, states


def lion(model):
    from slm_lens.features.feature_steering import SteeredFeature

    tokens = model.vocab.word_tokens("lion", "first_piece")
    return SteeredFeature(3, 2.5, "lion", tokens)


def test_it_is_the_hooked_model_with_the_row_added(tiny_model, dictionary):
    """The bridge's own forward with a hook that adds strength * 2.5 * row at the last position."""
    from slm_lens.features.feature_steering import steer_features
    from slm_lens.interventions.site import Site
    from slm_lens.interventions.steering.steered import Steering, steered

    sae, states = dictionary
    prompts, one = list(states.utterances), lion(tiny_model)
    table = steer_features(
        tiny_model, sae, [one], prompts, [2.0, -1.0], others=torch.tensor([[7, 9]])
    )
    assert len(table) == 3 * 2 * 3  # prompts, strengths, directions
    for row in table.iter_rows(named=True):
        feature = 3 if row["direction"] == "feature" else [7, 9][row["draw"]]
        tokens = next(p for p in prompts if p.name == row["prompt"]).sequence.tokens
        vector = sae.W_dec[feature] * 2.5
        span = (len(tokens) - 1, None)
        with steered(tiny_model, Steering(Site("resid_post", 0), vector, row["strength"], span)):
            logits = tiny_model(tokens[None], return_type="logits")[0, -1]
        expected = logits.detach().log_softmax(-1)[list(one.answer)].logsumexp(0).item()
        assert row["value"] == pytest.approx(expected, abs=1e-4)
        plain = tiny_model(tokens[None], return_type="logits")[0, -1].detach().log_softmax(-1)
        baseline = plain[list(one.answer)].logsumexp(0).item()
        assert row["effect"] == pytest.approx(expected - baseline, abs=2e-4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"features": []}, "got 0 features"),
        ({"strengths": []}, "0 strengths"),
        ({"others": torch.tensor([[1], [2]])}, "other features of shape \\(2, 1\\)"),
        ({"others": torch.tensor([[48]])}, r"the numbers \[48\]; expected .* from 0 to 47"),
        ({"prompts": []}, "got 0 runs"),
    ],
)
def test_what_cannot_be_steered(tiny_model, dictionary, change, said):
    from slm_lens.features.feature_steering import steer_features

    sae, states = dictionary
    usual = {
        "features": [lion(tiny_model)],
        "prompts": list(states.utterances),
        "strengths": [1.0],
        "others": torch.tensor([[1]]),
    }
    with pytest.raises(ValueError, match=said):
        steer_features(tiny_model, sae, **usual | change)


def test_a_dictionary_of_the_embedding_or_of_no_model(tiny_model, dictionary):
    from slm_lens.features.autoencoder import SparseAutoencoder, stream_site
    from slm_lens.features.feature_steering import steer_features

    sae, states = dictionary
    weights = (sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec, sae.threshold)
    arguments = ([lion(tiny_model)], list(states.utterances), [1.0])
    embedded = SparseAutoencoder(*weights, replace(sae.facts, site=stream_site(tiny_model, 0)))
    with pytest.raises(ValueError, match="got a dictionary of layer 0"):
        steer_features(tiny_model, embedded, *arguments, others=torch.tensor([[1]]))
    unknown = SparseAutoencoder(*weights, replace(sae.facts, site=None))
    with pytest.raises(ValueError, match="does not say which model it is of"):
        steer_features(tiny_model, unknown, *arguments, others=torch.tensor([[1]]))


def test_logit_effects_are_differences_of_logits(tiny_model):
    """RMSNorm: the logit of d is W_U . (gain * d), less the mean over the vocabulary; in numpy."""
    from slm_lens.features.feature_steering import logit_effects

    directions = torch.randn(2, 32)
    gain = tiny_model.original_model.model.norm.weight.detach().double().numpy()
    W_U = tiny_model.original_model.lm_head.weight.detach().double().numpy()
    expected = (directions.double().numpy() * gain) @ W_U.T
    expected -= expected.mean(1, keepdims=True)
    found = logit_effects(tiny_model, directions)
    torch.testing.assert_close(found.double(), torch.from_numpy(expected), rtol=1e-4, atol=1e-4)


def test_a_dashboard_has_what_is_active_where(tiny_model, dictionary):
    from slm_lens.features.dashboard import N_BINS, feature_dashboard, mean_active
    from slm_lens.features.measures import encode_all

    sae, states = dictionary
    activations = encode_all(sae, states.at(1))
    numbers = activations.sum(0).topk(5).indices.tolist()
    known = pl.DataFrame({"feature": numbers, "tag": ["text"] * 5})
    board = feature_dashboard(tiny_model, sae, known, states, states, n_examples=2, n_tokens=3)

    assert board.features["feature"].to_list() == numbers
    for row in board.features.iter_rows(named=True):
        values = activations[:, row["feature"]]
        assert row["n_active"] == int((values > 0).sum())
        assert row["mean_active"] == pytest.approx(values[values > 0].mean().item(), rel=1e-5)
        assert row["peak"] == pytest.approx(values.max().item())
        assert len(row["histogram_text"]) == N_BINS
        n_text = int((values[states.of_kind("text")] > 0).sum())
        assert (sum(row["histogram_text"]), sum(row["histogram_speech"])) == (n_text, 0)
        edges = torch.linspace(0, row["peak"], N_BINS + 1)
        of_text = values[states.of_kind("text") & (values > 0)]
        assert row["histogram_text"][-1] == int((of_text >= edges[-2]).sum())
        assert row["promoted_logit"] == sorted(row["promoted_logit"], reverse=True)
        assert row["suppressed_logit"] == sorted(row["suppressed_logit"])
        assert len(row["promoted"]) == len(row["suppressed"]) == 3

        of = board.activations.filter(feature=row["feature"])
        best = [values[states.utterance == u].max().item() for u in range(3)]
        highest = [i for i in torch.tensor(best).argsort(descending=True)[:2].tolist() if best[i]]
        shown = of["utterance"].unique(maintain_order=True).to_list()
        assert shown == [states.utterances[i].name for i in highest]
        for name, rows in of.group_by("utterance"):
            u = [x.name for x in states.utterances].index(str(name[0]))
            alone = values[states.utterance == u]
            assert rows["position"].to_list() == alone.nonzero()[:, 0].tolist()
            assert rows["activation"].to_list() == pytest.approx(alone[alone > 0].tolist())
    zebra = board.words.filter(utterance="the zebra lives in the desert", word=1)
    assert zebra["written"].item() == "zebra"
    assert zebra["start_s"].item() is None
    at = board.positions.filter(utterance="the zebra lives in the desert")
    assert at["kind"].to_list() == ["marker"] + ["text"] * 6
    assert at["label"][2] == " zebra"
    assert at["word"].to_list() == [None, 0, 1, 2, 3, 4, 5]
    assert mean_active(torch.zeros(3, 2)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("known", "options", "said"),
    [
        ({"feature": [48]}, {}, r"got the features \[48\], expected at least one, from 0 to 47"),
        ({"number": [1]}, {}, r"got the features \[\]"),
        ({"feature": [1]}, {"n_examples": 0}, "n_examples=0"),
        ({"feature": [1]}, {"n_tokens": 0}, "n_tokens=0"),
    ],
)
def test_what_there_is_no_dashboard_of(tiny_model, dictionary, known, options, said):
    from slm_lens.features.dashboard import feature_dashboard

    sae, states = dictionary
    with pytest.raises(ValueError, match=said):
        feature_dashboard(tiny_model, sae, pl.DataFrame(known), states, states, **options)
