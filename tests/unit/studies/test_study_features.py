"""The study of features: on a model whose shared features are known, and on null models."""

from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
import pytest
import torch
from planted import (
    N_LAYERS,
    PREDICTS,
    SPEECH_MARKER,
    WORDS,
    planted_clips,
    planted_model,
    spoken,
    written,
)

SHARED = PREDICTS + 1  # words lie in directions that speech, text and unembedding share


def planted_data():
    from slm_lens.sequence.utterance import Utterance
    from slm_lens.studies.features.data import WRITTEN, Documents, FeatureData

    def documents(clips):
        read = tuple(Utterance(c.name + WRITTEN, written(c).sequence) for c in clips)
        return Documents(tuple(spoken(c) for c in clips), read)

    train = documents(planted_clips(60, seed=1))
    return FeatureData(
        train.pure, documents(planted_clips(60, seed=2)), documents(planted_clips(8, seed=3))
    )


def options(**chosen):
    from slm_lens.studies.features.options import FeaturesOptions

    usual = {
        "layers": (0, SHARED, N_LAYERS),
        "expansion": 1,
        "k": 3.0,
        "n_steps": 200,
        "n_prompts": 4,
        "n_steered": 4,
        "n_shown": 6,
        "n_shuffles": 20,
        "n_bootstrap": 200,
        "strengths": (0.5, 1.0),
    }
    return FeaturesOptions(**usual | chosen)


@cache
def planted_result():
    from slm_lens.studies.features.study import study_features_on

    return study_features_on({planted_model(): planted_data()}, options())


@pytest.mark.slow
def test_shared_features_are_found_where_they_are():
    """Layers 2 to 5 hold spoken and written words in one direction; layers 0 and 6 do not."""
    result = planted_result()
    both = result.frame("words").filter(modality="both", dictionary="batch_topk")
    share = dict(both.select("layer", "share").iter_rows())
    chance = dict(both.select("layer", "chance").iter_rows())
    assert share[SHARED] >= 0.75
    assert chance[SHARED] < 0.1
    assert share[0] == chance[0] == 0
    assert share[N_LAYERS] <= 0.25
    assert both["n_words"].to_list() == [len(WORDS)] * 3

    mixed = dict(
        result.frame("layers").filter(dictionary="batch_topk").select("layer", "mixed").iter_rows()
    )
    assert mixed[SHARED] > mixed[0] + 0.1

    variance = result.frame("variance").filter(dictionary="batch_topk")
    shared = variance.filter(pl.col("positions").is_in(["speech", "text"]), layer=SHARED)
    assert len(shared) == 2
    assert (shared["explained"] > 0.8).all()
    assert (shared["low"] <= shared["explained"]).all()
    assert (shared["explained"] <= shared["high"]).all()


@pytest.mark.slow
def test_steering_with_a_shared_feature_raises_its_word():
    """The unembedding reads the words' directions, so that a word's feature raises the word."""
    doses = planted_result().frame("doses").filter(reading="written", strength=1.0)
    row = doses.row(0, named=True)
    assert row["layer"] == SHARED
    assert row["difference_low"] > 1
    assert row["n_prompts"] == 4


@pytest.mark.slow
def test_page_figure_and_tables_are_written(tmp_path):
    from slm_lens.report.study_page import report_study
    from slm_lens.studies.study_result import read_study
    from slm_lens.views.studies.features import features_figures

    result = planted_result()
    assert len(result.findings) == 9
    assert all(f.startswith("planted: ") for f in result.findings)
    result.write(tmp_path / "tables")
    again = read_study(tmp_path / "tables")
    assert again.findings == result.findings
    (chart,) = features_figures(again).values()
    assert len(chart.panels) == 4
    page = report_study(again, tmp_path / "page")
    text = page.read_text()
    assert "`features-planted.html`: Features of planted at layer 5; interactive, offline." in text
    html = (page.parent / "features-planted.html").read_text()
    assert "slmLens.register" in html
    assert (page.parent / "features-planted.png").stat().st_size > 10_000
    for table in result.tables.values():
        assert any(c.startswith("n_") for c in table.frame.columns) or "page" in table.caption \
            or table.caption.startswith("A row is a prompt")  # fmt: skip


@pytest.mark.slow
def test_null_models_have_no_shared_features():
    """Random weights, 20 seeds, 12 words: one feature for a word both spoken and written.

    Units and written words get unrelated embeddings, so that there is nothing to find but what
    chance brings together: features that stand for some word in either modality. Of 240 words
    2 were found where chance expects 4.4 (of 480, with 40 seeds, 8 where it expects 8.0).
    """
    from slm_lens.features.autoencoder import stream_site
    from slm_lens.features.settings import SAESettings
    from slm_lens.features.states import balanced_positions, position_states
    from slm_lens.features.train import train_sae
    from slm_lens.features.words import purest_words, shared_words, word_activations

    data, n_found, n_words, expected = planted_data(), 0, 0, 0.0
    for seed in range(20):
        model = planted_model(planted=False, seed=seed)
        at = balanced_positions(data.train, seed=seed)
        states = position_states(model, data.train, [SHARED], at=at, batch_size=60)
        chosen = SAESettings(d_sae=96, k=3.0, n_steps=60, batch_size=256, seed=seed)
        sae = train_sae(states.at(SHARED), chosen, site=stream_site(model, SHARED))
        others = position_states(model, data.tagging.pure, [SHARED], batch_size=60)
        found = word_activations(sae, others, SHARED)
        heard, read = (purest_words(found, modality=m, role="current") for m in ("speech", "text"))
        words, chance = shared_words(heard, read, sorted(WORDS))
        n_found, n_words = n_found + len(words), n_words + len(WORDS)
        expected += chance * len(WORDS)
    assert n_words == 240
    assert abs(n_found - expected) < 3 * np.sqrt(expected)
    assert n_found / n_words < 0.06


def test_layers_that_are_chosen():
    from slm_lens.studies.features.study import chosen_layers

    assert chosen_layers(8, options(layers=None)) == (0, 2, 4, 6, 8)
    assert chosen_layers(2, options(layers=None)) == (0, 1, 2)
    assert chosen_layers(8, options(layers=(4, 0))) == (0, 4)
    for odd in ({"layers": (9,)}, {"layers": ()}, {"layers": (1,), "jump_layer": 2}):
        with pytest.raises(ValueError, match="study features: got layers="):
            chosen_layers(8, options(**odd))


def shares(**by_layer):
    rows = [(int(k[1:]), "batch_topk", "text", "next", x) for k, x in by_layer.items()]
    return pl.DataFrame(
        rows, schema=["layer", "dictionary", "modality", "role", "share"], orient="row"
    )


def test_the_layer_that_is_steered():
    from slm_lens.studies.features.steering import choose_layer

    words = shares(_0=1.0, _2=0.5, _4=0.7, _6=0.7, _8=0.9)
    assert choose_layer(words, 8, options()) == 4  # neither the embedding nor the last
    assert choose_layer(words, 8, options(steer_layer=8)) == 8
    assert choose_layer(shares(_0=1.0, _8=0.1), 8, options()) == 8
    with pytest.raises(ValueError, match=r"got steer_layer=3, expected one of \[2, 4, 6, 8\]"):
        choose_layer(words, 8, options(steer_layer=3))
    with pytest.raises(ValueError, match="dictionaries of no layer from 1 to 8"):
        choose_layer(shares(_0=1.0), 8, options())


def test_dose_curves_by_hand():
    """Two prompts, one feature, two draws: effects 2 and 4 against means 1 and 2 of the draws."""
    from slm_lens.studies.features.steering import dose_curves

    rows = [
        ("p", "feature", None, 2.0), ("p", "random", 0, 0.5), ("p", "random", 1, 1.5),
        ("q", "feature", None, 4.0), ("q", "random", 0, 2.0), ("q", "random", 1, 2.0),
    ]  # fmt: skip
    table = pl.DataFrame(rows, schema=["prompt", "direction", "draw", "effect"], orient="row")
    table = table.with_columns(
        layer=pl.lit(3), reading=pl.lit("written"), strength=pl.lit(1.0), feature=pl.lit(7)
    )
    row = dose_curves(table, options()).row(0, named=True)
    assert (row["effect"], row["control"], row["difference"]) == (3.0, 1.5, 1.5)
    assert (row["low"], row["high"]) == (2.0, 4.0)  # of two prompts, both draws of one occur
    assert (row["n_prompts"], row["n_features"]) == (2, 1)
    none = dose_curves(table, options(n_bootstrap=0)).row(0, named=True)
    assert none["low"] is None


def test_halves_and_first_units():
    from slm_lens.studies.features.data import first_units, halves

    documents = planted_data().held_out
    heard, read = halves(documents, 3)
    assert [u.name for u in heard] == ["clip 0", "clip 1", "clip 2"]
    for a, b, whole in zip(heard, read, documents.spoken, strict=False):
        assert [w.word for w in a.sequence.words] == [w.word for w in b.sequence.words]
        assert len(a.sequence.words) == 3
        assert len(a.sequence) == 1 + 9  # marker and three units for each of three words
        assert torch.equal(a.sequence.tokens, whole.sequence.tokens[:10])
        assert len(b.sequence) == 1 + 3
    first = first_units(documents)
    assert first["zebra"] == len(WORDS)  # unit 0
    assert first["river"] == len(WORDS) + 3
    assert SPEECH_MARKER not in first.values()


def test_data_of_a_folder(monkeypatch):
    from slm_lens.studies.features import data as module

    read = planted_data()
    monkeypatch.setattr(module, "encoded_clips", lambda _, name: name)
    sets = {"mine": read.tagging, "held-out": read.held_out, "one": read.held_out.part(0, 1)}
    monkeypatch.setattr(module, "documents_of", lambda _, clips, __: sets[clips])
    model = planted_model()
    made = module.feature_data(model, options(train_on="mine"))
    assert len(made.train) == 2 * 36  # three fifths of 60 clips, spoken and written
    assert len(made.tagging.spoken) == 24
    names = {u.name for u in made.tagging.pure}
    assert names.isdisjoint(u.name for u in made.train)
    with pytest.raises(ValueError, match="got 60 clips to train and tag on, and 1 held out"):
        module.feature_data(model, options(train_on="mine", data="one"))
    with pytest.raises(ValueError, match="got train_on='held-out' and the same for data"):
        module.feature_data(model, options(train_on="held-out"))


def test_stories_are_the_organisms_alone():
    from slm_lens.organism.spoken_stories import speak_stories

    with pytest.raises(ValueError, match="speak_stories: the model 'planted'"):
        list(speak_stories(planted_model(), [0]))


def test_a_model_without_text_is_refused(monkeypatch):
    from slm_lens.errors import VocabError
    from slm_lens.studies.features.study import study_features

    model = planted_model()
    units = range(model.vocab.d_vocab)
    vocab = replace(model.vocab, text=range(0), streams={"units": units}, markers={}, labels={})
    monkeypatch.setattr(model, "vocab", vocab)
    with pytest.raises(VocabError, match="study features: the model 'planted'"):
        study_features([model], options())


@pytest.mark.slow
def test_too_few_features_to_steer_with():
    from slm_lens.studies.features.steering import choose_features, steering_table

    found, model = _found(n_steps=5)
    data = planted_data()
    none = replace(found, purest=found.purest.with_columns(f1=pl.lit(None, dtype=pl.Float64)))
    assert steering_table(model, none, data, SHARED, options()).is_empty()
    tags = replace(found.tags, tag=("rare",) * 93 + ("mixed", "text", "speech"))
    all_fit = found.purest.with_columns(f1=pl.lit(1.0), word=pl.lit("honey"))
    few = replace(found, tags=tags, purest=all_fit)
    ((one, unit),) = choose_features(model, few, data, 4)  # there is no second word
    assert one.feature == 93  # the first that is neither rare nor dead
    assert one.answer == (WORDS.index("honey"),)
    assert unit == len(WORDS) + 3 * WORDS.index("honey")
    with pytest.raises(ValueError, match="got 2 other features of 96 for n_draws=3"):
        steering_table(model, few, data, SHARED, options())


@cache
def _found(n_steps):
    from slm_lens.features.autoencoder import stream_site
    from slm_lens.features.settings import SAESettings
    from slm_lens.features.train import train_sae
    from slm_lens.studies.features.dictionaries import look_at
    from slm_lens.studies.features.reads import read_all

    model, chosen = planted_model(), options()
    reads = read_all(model, planted_data(), [SHARED], chosen)
    settings = SAESettings(d_sae=96, k=3.0, n_steps=n_steps, batch_size=256)
    sae = train_sae(reads.train.at(SHARED), settings, site=stream_site(model, SHARED))
    return look_at(sae, "batch_topk", reads, SHARED, chosen), model


@pytest.mark.slow
def test_explained_variance_and_its_interval_by_numpy():
    """1 - sum |x - x'|^2 / sum |x - mean|^2 at text positions, by clip; resamples draw clips."""
    from slm_lens.features.measures import encode_all
    from slm_lens.phases.bootstrap import resample_weights
    from slm_lens.studies.features.reads import read_all

    found, model = _found(n_steps=5)
    chosen = options()
    reads = read_all(model, planted_data(), [SHARED], chosen)
    where = reads.held_out.of_kind("text")
    x = reads.held_out.at(SHARED)[where].double().numpy()
    y = found.sae.decode(encode_all(found.sae, reads.held_out.at(SHARED)))[where].double().numpy()
    left, total = ((x - y) ** 2).sum(1), ((x - x.mean(0)) ** 2).sum(1)
    row = next(r for r in found.variance if r["positions"] == "text")
    assert row["explained"] == pytest.approx(1 - left.sum() / total.sum(), rel=1e-5)
    clip = reads.held_out.utterance[where].numpy() % 8
    sums = np.array([[part[clip == c].sum() for c in range(8)] for part in (left, total)])
    weights = resample_weights(8, chosen.n_bootstrap, chosen.seed)
    drawn = 1 - (weights @ sums[0]) / (weights @ sums[1])
    assert (row["low"], row["high"]) == pytest.approx(
        tuple(np.quantile(drawn, (0.025, 0.975))), rel=1e-5
    )
    assert (row["n_positions"], row["n_clips"]) == (48, 8)
    assert [r["positions"] for r in found.variance] == ["all", "speech", "text", "marker"]
