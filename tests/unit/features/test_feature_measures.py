"""Explained variance, tags and words of features: by hand, and how often chance tags one."""

import numpy as np
import polars as pl
import pytest
import torch
from scipy.stats import binom


def test_explained_variance_by_hand():
    """States 0, 2, 4 (mean 2) rendered as 0, 2, 3: 1 - (0 + 0 + 1) / (4 + 0 + 4) = 0.875."""
    from slm_lens.features.measures import reconstruction_errors

    states, rendered = torch.tensor([[0.0], [2.0], [4.0]]), torch.tensor([[0.0], [2.0], [3.0]])
    errors = reconstruction_errors(states, rendered)
    assert errors.explained == pytest.approx(0.875)
    assert errors.left.tolist() == [0.0, 0.0, 1.0]
    assert errors.total.tolist() == [4.0, 0.0, 4.0]
    assert reconstruction_errors(states, torch.full((3, 1), 2.0)).explained == pytest.approx(0.0)
    with pytest.raises(ValueError, match="got 3 states that do not differ"):
        reconstruction_errors(torch.ones(3, 2), torch.ones(3, 2))


def test_encode_and_decode_by_hand():
    """z = (x - (1, 0)) W_enc + b_enc; of x = (3, 1): z = (2, 1) W_enc = (2, 4) + (0, -3) = (2, 1).

    Thresholds 1.5 and 1: the first is kept, the second is not above. x' = 2 * (1, 0) + (1, 0).
    """
    from slm_lens.features.autoencoder import SAEFacts, SparseAutoencoder

    sae = SparseAutoencoder(
        torch.tensor([[1.0, 1.0], [0.0, 2.0]]),
        torch.tensor([0.0, -3.0]),
        torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
        torch.tensor([1.0, 0.0]),
        torch.tensor([1.5, 1.0]),
        SAEFacts("jumprelu", None),
    )
    x = torch.tensor([3.0, 1.0])
    assert sae.pre_activations(x).tolist() == [2.0, 1.0]
    assert sae.encode(x).tolist() == [2.0, 0.0]
    assert sae(x).tolist() == [3.0, 0.0]
    assert (sae.layer, sae.hook_name) == (None, None)


def by_hand():
    """Ten positions, the first five speech; five features, tagged by their top two."""
    is_speech = torch.tensor([True] * 5 + [False] * 5)
    activations = torch.zeros(10, 5)
    activations[[0, 1, 9], 0] = torch.tensor([3.0, 2.0, 1.0])  # top two: speech
    activations[[8, 9, 0], 1] = torch.tensor([3.0, 2.0, 1.0])  # text
    activations[[0, 9, 1], 2] = torch.tensor([3.0, 2.0, 1.0])  # one of either
    activations[4, 3] = 1.0  # rare
    return activations, is_speech


def test_tags_by_hand():
    from slm_lens.features.measures import modality_tags

    tags = modality_tags(*by_hand(), n_top=2)
    assert tags.tag == ("speech", "text", "mixed", "rare", "dead")
    assert tags.speech_share[:3].tolist() == [1.0, 0.0, 0.5]
    assert tags.speech_share[3:].isnan().all()
    assert tags.n_active.tolist() == [3, 3, 3, 1, 0]
    assert tags.counts == {"speech": 1, "text": 1, "mixed": 1, "rare": 1, "dead": 1}
    assert (tags.n_tagged, tags.n_positions, tags.n_speech) == (3, 10, 5)


@pytest.mark.parametrize(
    ("n_speech_of_20", "tag"), [(16, "speech"), (15, "mixed"), (5, "mixed"), (4, "text")]
)
def test_the_ends_of_the_tags(n_speech_of_20, tag):
    """0.8 and 0.2 belong to the tags: 16 and 4 of 20."""
    from slm_lens.features.measures import modality_tags

    is_speech = torch.zeros(40, dtype=torch.bool)
    is_speech[:n_speech_of_20] = True
    is_speech[20:] = torch.tensor([i % 2 == 0 for i in range(20)])
    activations = torch.zeros(40, 1)
    activations[:20, 0] = torch.arange(20, 0, -1)
    assert modality_tags(activations, is_speech).tag == (tag,)


def test_chance_is_that_of_a_draw():
    """Of a huge balanced sample the top 20 are 20 tosses of a coin: P(16 or more) = 0.0059."""
    from slm_lens.features.measures import chance_of_tag

    speech, text = chance_of_tag(10**7, 5 * 10**6)
    assert speech == pytest.approx(binom.sf(15, 20, 0.5), rel=1e-3)
    assert text == pytest.approx(speech, rel=1e-6)
    # Of 4 positions, 2 of them speech, the top 2: both speech in 1 of 6 draws.
    assert chance_of_tag(4, 2, n_top=2) == pytest.approx((1 / 6, 1 / 6))
    with pytest.raises(ValueError, match="chance_of_tag: got 5 of 4 positions"):
        chance_of_tag(4, 5)


@pytest.mark.slow
def test_no_more_tags_than_chance_where_modality_means_nothing():
    """The null: Gaussian states, labels at random. 30 seeds, some 60 features each.

    Shares of features that are not mixed: measured, by shuffled labels, and by the draw without
    replacement. Over all seeds the first may not exceed what 1,800 independent features would give
    in 1 of 1,000 experiments (Poisson), nor fall below it.
    """
    from slm_lens.features.measures import (
        chance_of_tag,
        encode_all,
        modality_tags,
        shuffled_tags,
    )
    from slm_lens.features.settings import SAESettings
    from slm_lens.features.train import train_sae

    n_tagged = n_not_mixed = 0
    expected, by_shuffles = 0.0, 0.0
    for seed in range(30):
        g = torch.Generator().manual_seed(seed)
        states = torch.randn(2000, 16, generator=g)
        is_speech = torch.rand(2000, generator=g) < 0.5
        chosen = SAESettings(d_sae=64, k=4.0, n_steps=40, batch_size=256, seed=seed)
        activations = encode_all(train_sae(states, chosen), states)
        tags = modality_tags(activations, is_speech)
        n_tagged += tags.n_tagged
        n_not_mixed += tags.counts["speech"] + tags.counts["text"]
        expected += tags.n_tagged * sum(chance_of_tag(2000, tags.n_speech))
        shuffled = shuffled_tags(activations, is_speech, n_shuffles=50, seed=seed)
        assert (shuffled.sum(1) == tags.n_tagged).all()
        by_shuffles += shuffled[:, :2].sum(1).double().mean().item()
    assert n_tagged > 1500
    assert by_shuffles == pytest.approx(expected, rel=0.1)
    # expected is about 20 of 1,800: 1.2 %; four standard deviations of a Poisson count
    assert abs(n_not_mixed - expected) < 4 * np.sqrt(expected)
    assert n_not_mixed / n_tagged < 0.025


def test_shuffled_labels_find_a_planted_tag_no_more():
    from slm_lens.features.measures import modality_tags, shuffled_tags

    g = torch.Generator().manual_seed(0)
    is_speech = torch.arange(1000) < 500
    activations = torch.rand(1000, 50, generator=g) * is_speech[:, None]
    assert modality_tags(activations, is_speech).counts["speech"] == 50
    shuffled = shuffled_tags(activations, is_speech, n_shuffles=40, seed=0).double().mean(0)
    assert shuffled[2] > 45  # mixed
    with pytest.raises(ValueError, match="got n_shuffles=0"):
        shuffled_tags(activations, is_speech, n_shuffles=0, seed=0)


@pytest.mark.parametrize(("n_speech", "n_top"), [(0, 2), (10, 2), (5, 11), (5, 0)])
def test_tags_need_both_modalities(n_speech, n_top):
    from slm_lens.features.measures import modality_tags

    with pytest.raises(ValueError, match=rf"modality_tags: got {n_speech} positions of speech"):
        modality_tags(torch.rand(10, 3), torch.arange(10) < n_speech, n_top=n_top)


def occurrences():
    """Eight occurrences of "a" and "b" in four utterances; two features."""
    from slm_lens.features.words import WordActivations

    word = ("a", "b", "a", "b", "a", "b", "a", "b")
    peak = torch.tensor(
        # utterance 0: a b; 1: a b; 2: a b; 3: a b
        [[2.0, 0.0], [0.0, 1.0], [3.0, 1.0], [0.0, 2.0],
         [1.0, 0.0], [0.0, 3.0], [0.0, 1.5], [0.5, 0.7]]
    )  # fmt: skip
    return WordActivations(
        peak, word, ("b", None) * 4, ("text",) * 8, torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    )


def test_words_by_hand():
    """Chosen on utterances 0 and 2, measured on 1 and 3.

    Feature 0 is active at "a" alone in the first half. In the second half it is active at a (3.0),
    not at a (0), not at b (0), and at b (0.5): 1 hit, 1 false, 1 miss, F1 = 2 / (2 + 2) = 0.5; of
    the four pairs (a, b), 3 > 0, 3 > 0.5, 0 = 0 (half), 0 < 0.5: AUROC = 2.5 / 4.
    Feature 1 is active at "b" alone in the first half; in the second half at all four: F1 =
    2 * 2 / (2 + 4); pairs (b, a): 2 > 1, 2 > 1.5, 0.7 < 1, 0.7 < 1.5: AUROC = 2 / 4.
    """
    from slm_lens.features.words import purest_words

    found = purest_words(occurrences(), modality="text", role="current", n_least=2)
    assert found["word"].to_list() == ["a", "b"]
    assert found["f1"].to_list() == pytest.approx([0.5, 2 / 3])
    assert found["auroc"].to_list() == pytest.approx([0.625, 0.5])
    assert found["n_words"].to_list() == [2, 2]
    assert found["n_others"].to_list() == [2, 2]


def test_the_word_to_come():
    """Only occurrences that are followed by a word count: those of "a", all before "b"."""
    from slm_lens.features.words import purest_words

    found = purest_words(occurrences(), modality="text", role="next", n_least=2)
    assert found["word"].to_list() == ["b", None]  # feature 1 is silent there in the first half
    assert found["n_others"].to_list() == [0, 0]
    assert found["f1"][0] == pytest.approx(2 * 1 / (2 + 1))  # active at one of two


def test_words_that_are_too_rare():
    from slm_lens.features.words import purest_words

    with pytest.raises(ValueError, match="got 8 text occurrences of 2 words, none with 3 in"):
        purest_words(occurrences(), modality="text", role="current", n_least=3)


def test_shared_words_by_hand():
    """Three words, three features: spoken a, b, b; written a, c, b, the last F1 too low.

    Feature 0 stands for "a" in both. Of six pairs of different words, "b" spoken with "c" written
    is one that a feature stands for: chance 1 / 6.
    """
    from slm_lens.features.words import shared_words

    spoken = pl.DataFrame({"feature": [0, 1, 2], "word": ["a", "b", "b"], "f1": [0.9, 0.5, 0.6]})
    written = pl.DataFrame({"feature": [0, 1, 2], "word": ["a", "c", "b"], "f1": [0.5, 0.7, 0.4]})
    assert shared_words(spoken, written, ["a", "b", "c"]) == (["a"], pytest.approx(1 / 6))
    assert shared_words(spoken, written, ["a", "b"], least_f1=0.4) == (["a", "b"], 0.0)
    with pytest.raises(ValueError, match="got 1 known words"):
        shared_words(spoken, written, ["a"])


def test_top_words_by_hand():
    """Means: feature 0 a 1.5, b 0.125; feature 1 a 0.625, b 1.675."""
    from slm_lens.features.words import top_words

    assert top_words(occurrences(), "text", n_words=1) == ["a", "b"]
    assert top_words(occurrences(), "text") == ["a b", "b a"]
    assert top_words(occurrences(), "speech") == ["", ""]


def test_states_are_those_of_the_stack(tiny_model):
    from slm_lens.features.autoencoder import random_sae, stream_site
    from slm_lens.features.measures import encode_all
    from slm_lens.features.states import position_states
    from slm_lens.features.words import word_activations
    from slm_lens.lens.states import residual_stack
    from slm_lens.sequence.utterance import Utterance

    texts = ["the zebra lives in", "the lion", "the desert is striped the zebra"]
    written = [Utterance(t, tiny_model.sequence_from_text(t)) for t in texts]
    states = position_states(tiny_model, written, [2, 0], batch_size=2)
    assert len(states) == sum(len(u.sequence) for u in written)
    for number, one in enumerate(written):
        alone = residual_stack(tiny_model, one.sequence.tokens[None])[:, 0]
        rows = states.utterance == number
        torch.testing.assert_close(states.at(0)[rows], alone[0])
        torch.testing.assert_close(states.at(2)[rows], alone[2], rtol=1e-4, atol=1e-5)
        assert states.position[rows].tolist() == list(range(len(one.sequence)))
    assert states.of_kind("text").sum() == 12
    with pytest.raises(LookupError, match=r"PositionStates.at: got layer 1, expected one of"):
        states.at(1)

    sae = random_sae(states.at(2), 64, k=4.0, seed=0, site=stream_site(tiny_model, 2))
    found = word_activations(sae, states, 2)
    assert found.word[:4] == ("the", "zebra", "lives", "in")
    assert found.following[3:5] == (None, "lion")
    activations = encode_all(sae, states.at(2))
    zebra = written[0].sequence.words[1]
    assert torch.equal(found.peak[1], activations[zebra.start : zebra.end].amax(0))
    with pytest.raises(ValueError, match=r"got layer=0 and a dictionary of layer 2"):
        word_activations(sae, states, 0)
    some = position_states(tiny_model, written, [2], at=torch.tensor([1, 2]))
    with pytest.raises(ValueError, match=r"got states of 2 of 15 positions"):
        word_activations(sae, some, 2)


@pytest.mark.parametrize(
    ("n", "layers", "batch_size", "said"),
    [
        (0, (0,), 8, "got 0 utterances"),
        (1, (), 8, "the layers ()"),
        (1, (1, 1), 8, "each once"),
        (1, (3,), 8, "layers from 0 to 2"),
        (1, (1,), 0, "got batch_size=0"),
    ],
)
def test_what_cannot_be_read(tiny_model, n, layers, batch_size, said):
    from slm_lens.features.states import position_states
    from slm_lens.sequence.utterance import Utterance

    one = Utterance("one", tiny_model.sequence_from_text("the zebra"))
    with pytest.raises(ValueError, match=said.replace("(", r"\(").replace(")", r"\)")):
        position_states(tiny_model, [one] * n, layers, batch_size=batch_size)


def mixed(*kinds):
    """An utterance of tokens of these kinds."""
    from slm_lens.sequence.sequence import SpeechTextSequence
    from slm_lens.sequence.utterance import Utterance

    return Utterance("mixed", SpeechTextSequence(torch.zeros(len(kinds)).long(), kinds, ()))


def test_a_balanced_sample():
    from slm_lens.features.states import balanced_positions

    kinds = ("speech",) * 60 + ("text",) * 20 + ("marker",) * 5
    utterances = [mixed(*kinds[:30]), mixed(*kinds[30:])]
    chosen = balanced_positions(utterances, seed=0)
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert [kinds[i] for i in chosen].count("speech") == 20
    assert [kinds[i] for i in chosen].count("text") == 20
    few = balanced_positions(utterances, speech_share=0.75, n_positions=8, seed=0)
    assert [kinds[i] for i in few].count("speech") == 6
    with pytest.raises(ValueError, match=r"for n_positions=41 .* at most 40"):
        balanced_positions(utterances, n_positions=41, seed=0)
    with pytest.raises(ValueError, match=r"got speech_share=1\.0"):
        balanced_positions(utterances, speech_share=1.0, seed=0)
    with pytest.raises(ValueError, match="got 60 positions of speech and 0 of text"):
        balanced_positions([mixed(*kinds[:60])], seed=0)


def test_some_positions_alone(tiny_model):
    from slm_lens.features.states import position_states
    from slm_lens.sequence.utterance import Utterance

    texts = ["the zebra lives in", "the lion", "the desert is striped"]
    written = [Utterance(t, tiny_model.sequence_from_text(t)) for t in texts]
    whole = position_states(tiny_model, written, [1], batch_size=1)
    at = torch.tensor([0, 3, 4, len(whole) - 1])  # none of the second utterance, if batched by one
    some = position_states(tiny_model, written, [1], at=at, batch_size=1)
    assert torch.equal(some.at(1), whole.at(1)[at])
    assert some.position.tolist() == whole.position[at].tolist()
    assert some.utterance.tolist() == whole.utterance[at].tolist()
    for odd in ([], [3, 3], [0, len(whole)], [-1]):
        with pytest.raises(ValueError, match=f"got {len(odd)} positions in at"):
            position_states(tiny_model, written, [1], at=torch.tensor(odd).long())
