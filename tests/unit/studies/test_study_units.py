"""The study `units` on models whose answer is known, and each of its parts by hand."""

import shutil
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from planted import N_LAYERS, TRANSCRIBES, planted_clips, planted_model, spoken
from planted_sounds import LevelUnits, write_planted_clips

import slm_lens
from slm_lens.lens.build_up import word_build_up
from slm_lens.report.study_page import report_study
from slm_lens.sequence.function_words import ENGLISH_FUNCTION_WORDS
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.sequence.utterance import Utterance
from slm_lens.speech.mfcc import MfccKMeans
from slm_lens.studies.units.building import (
    WordHits,
    isolation_points,
    isolation_row,
    slope_rows,
    word_hits,
)
from slm_lens.studies.units.findings import findings
from slm_lens.studies.units.identity import identity_hits, spoken_words, with_spans
from slm_lens.studies.units.options import UnitsOptions
from slm_lens.studies.units.rates import AGAIN, OWN, POOLED, UNITS_OWN, UNITS_REFIT
from slm_lens.studies.units.study import study_units

THIRDS: dict[str, Any] = {"n_shares": 3, "heard": "units", "k": 1, "words": "all"}


def built_up(model, n_clips=12, seed=0, n_draws=5):
    utterances = [spoken(c) for c in planted_clips(n_clips, seed=seed)]
    return word_build_up(
        model, utterances, function_words=frozenset(), policy="whole_word", n_draws=n_draws
    )


@pytest.mark.slow
def test_where_the_last_unit_transcribes_the_curve_steps_when_two_thirds_were_heard():
    # A unit that writes nothing leaves noise, in which one word of twelve is first: 1/12 is chance.
    for transcribing, single, so_far in (
        ((2,), (0, 0, 0, 1), (0, 0, 0, 1)),
        ((1,), (0, 0, 1, 0), (0, 0, 1, 1)),
        ((0, 1, 2), (0, 1, 1, 1), (0, 1, 1, 1)),
    ):
        build_up = built_up(planted_model(transcribing=transcribing))
        found = word_hits(build_up, UnitsOptions(**THIRDS))
        assert found.shares == (0.0, 1 / 3, 2 / 3, 1.0)
        assert found.peak_layer("current") == TRANSCRIBES
        for pool, hits in (("last", single), ("max", so_far)):
            recalls = found.hits["current", pool, "none"][:, TRANSCRIBES].mean(0)
            for recall, is_hit in zip(recalls.tolist(), hits, strict=True):
                assert recall == 1 if is_hit else recall < 0.2


@pytest.mark.slow
def test_a_prediction_is_read_before_the_word():
    # From layer 4 on, a unit says the word that follows; before the first word is the marker.
    found = word_hits(built_up(planted_model()), UnitsOptions(**THIRDS))
    before = found.hits["current", "last", "none"][:, 4, 0]
    first = np.array([index == 0 for _, index in found.keys])
    assert before[~first].tolist() == [1.0] * int((~first).sum())
    assert before[first].mean() < 0.5
    assert found.hits["current", "last", "none"][:, 4, 1:].mean() < 0.2
    following = found.hits["next", "last", "none"]
    assert np.isnan(following[:, 0, 0]).sum() == 12  # the last word of every clip
    assert np.nanmin(following[:, 4, 1:]) == 1


@pytest.mark.slow
def test_shares_of_time_are_those_that_had_begun(tmp_path):
    options = UnitsOptions(
        data=str(write_planted_clips(tmp_path, planted_clips(6))), words="all", k=1, n_shares=6,
        n_clusters=0, n_bootstrap=0, n_draws=2, pooled_hz=(),
    )  # fmt: skip
    model = planted_model(transcribing=(2,), unit_tokenizer=LevelUnits())
    curve = (
        study_units([model], options)
        .frame("build_up")
        .filter(
            pl.col("layer") == TRANSCRIBES,
            pl.col("control") == "none",
            pool="last",
            target="current",
        )
    )
    assert curve["share"].to_list() == [i / 6 for i in range(7)]
    # Up to 4/6 the second unit sounds; the third one begins there, and is heard by 5/6.
    assert curve["recall"][5:].to_list() == [1, 1]
    assert max(curve["recall"].to_list()[:5]) < 0.25
    assert curve["low"].null_count() == 7


@pytest.mark.slow
@pytest.mark.usefixtures("untyped")
def test_null_models_claim_that_more_is_readable_about_as_rarely_as_intervals_allow():
    # Of 60 null models with 30 clips and 20 draws, 6 (k=1) and 4 (k=3) claimed a slope of the
    # current word at single positions; of all eight measures 8 and 7 %. Clips alone: about half.
    n_seeds, claims, options = 24, [], UnitsOptions(**THIRDS, n_bootstrap=400)
    model = planted_model(planted=False)
    for seed in range(n_seeds):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():  # another null model, without building another bridge
            for name, parameter in model.original_model.named_parameters():
                if "norm" not in name:
                    parameter.normal_(0, 0.2, generator=generator)
        found = word_hits(built_up(model, n_clips=8, seed=seed, n_draws=3), options)
        rows = list(slope_rows(found, options))
        first = rows[0]
        assert (first["target"], first["pool"], first["measure"]) == ("current", "last", "slope")
        claims.append([not row["low"] <= 0 <= row["high"] for row in rows])
    assert sum(of_one[0] for of_one in claims) <= 3  # of 24: 12.5 %
    assert np.sum(claims) <= 24  # of 192: 12.5 %


@pytest.mark.slow
def test_a_planted_slope_is_claimed_with_its_size():
    # Least squares over 1/3, 2/3, 1 by hand: (third - first) * (1/3) / (2/9) = 1.5 (third - first).
    options = UnitsOptions(**THIRDS, n_bootstrap=200)
    found = word_hits(built_up(planted_model(transcribing=(2,)), n_draws=20), options)
    rows = {(r["target"], r["pool"], r["measure"]): r for r in slope_rows(found, options)}
    row = rows["current", "last", "slope"]
    assert row["layers"] == str(TRANSCRIBES)
    true, shuffled = (
        found.hits["current", "last", c][:, TRANSCRIBES] for c in ("none", "shuffled words")
    )
    assert row["whole_word"] == true[:, 3].mean() == 1
    assert row["first_share"] == true[:, 1].mean() < 0.2
    assert row["before_word"] == true[:, 0].mean() < 0.2
    by_hand = 1.5 * ((true[:, 3] - true[:, 1]) - (shuffled[:, 3] - shuffled[:, 1])).mean()
    assert row["estimate"] == pytest.approx(by_hand)
    assert 1.3 < by_hand < 1.7
    assert 0 < row["low"] <= row["estimate"] <= row["high"]
    assert (row["n_words"], row["n_word_types"]) == (72, 12)
    rise = rows["current", "max", "whole word less before it"]
    controls = found.hits["current", "max", "shuffled words"][:, TRANSCRIBES]
    rose = found.hits["current", "max", "none"][:, TRANSCRIBES, -1] - true[:, 0]
    assert rise["estimate"] == pytest.approx((rose - controls[:, -1] + controls[:, 0]).mean())


def test_isolation_by_hand():
    hits = np.array([[0, 1, 0, 1], [1, 1, 1, 1], [0, 0, 1, 0], [0, 0.5, 0.5, 0.5], [0, 0.4, 1, 1]])
    shares = (0.25, 0.5, 0.75, 1.0)
    points = isolation_points(hits, shares)
    assert points.tolist() == [1.0, 0.25, np.inf, 0.5, 0.75]
    row = isolation_row(points, np.array([0, 0, 1, 1, 1]), shares, UnitsOptions(n_bootstrap=50))
    assert (row["median_share"], row["isolated_by_half"], row["n_words"]) == (0.75, 0.4, 5)
    assert row["never"] == pytest.approx(0.2)
    assert row["n_clips"] == 2
    # Clips drawn twice: {.25, 1} has its half at 0.25, {.5, .75, never} at 0.75.
    assert (row["median_low"], row["median_high"]) == (0.25, 0.75)
    never = isolation_row(np.full(3, np.inf), np.arange(3), shares, UnitsOptions(n_bootstrap=0))
    assert (never["median_share"], never["median_low"], never["never"]) == (None, None, 1.0)


@pytest.fixture(scope="module")
def planted_study(tmp_path_factory):
    data = write_planted_clips(tmp_path_factory.mktemp("clips"), planted_clips(8, seed=1))
    models = [
        planted_model(name="sixteen", unit_tokenizer=LevelUnits()),
        planted_model(name="thirty-two", transcribing=(2,), unit_tokenizer=LevelUnits(32.0)),
    ]
    options = UnitsOptions(
        data=str(data), k=1, words="all", n_shares=3, pooled_hz=(16.0, 16 / 3), rates_hz=(12.5,),
        n_clusters=8, n_bootstrap=100, n_draws=5,
    )  # fmt: skip
    return study_units(models, options), options


@pytest.mark.slow  # the study runs here
def test_the_density_is_that_of_the_planted_units(planted_study):
    # 8 clips of 6 words, 3 units a word, 3/16 s a word; at 32 Hz two frames a unit.
    result, _ = planted_study
    values = {
        (r["model"], r["quantity"]): r["estimate"]
        for r in result.frame("density").iter_rows(named=True)
    }
    for name, rate_hz, kept in (("sixteen", 16, 1.0), ("thirty-two", 32, 0.5)):
        assert values[name, "units per word"] == 3
        assert values[name, "units per second"] == values[name, "positions per second"] == 16
        assert values[name, "frames per second"] == rate_hz
        assert values[name, "words per second"] == pytest.approx(16 / 3)
        assert values[name, "text tokens per second"] == pytest.approx(16 / 3)
        assert values[name, "units after / frames before deduplication"] == kept
        bits = values[name, "entropy of a unit"]
        assert values[name, "entropy a second"] == pytest.approx(16 * bits)
    counts = np.zeros(36)
    for clip in planted_clips(8, seed=1):
        for w in clip.words:
            counts[3 * w : 3 * w + 3] += 1
    shares = counts[counts > 0] / counts.sum()
    assert values["sixteen", "entropy of a unit"] == pytest.approx(
        -(shares * np.log2(shares)).sum()
    )
    assert values["sixteen", "units in use"] == len(shares)
    clips = result.frame("clips").filter(model="sixteen")
    assert clips["n_distinct_units"].to_list() == [18] * 8
    assert clips["entropy of a unit"].to_list() == pytest.approx([np.log2(18)] * 8)


def test_models_of_different_frame_rates_stand_side_by_side(planted_study):
    rates = planted_study[0].frame("rates").filter(reading=OWN).sort("rate_hz")
    assert rates["model"].to_list() == ["sixteen", "thirty-two"]
    assert rates["rate_hz"].to_list() == [16, 32]
    assert rates["units_per_word"].to_list() == [3, 3]
    assert rates["recall"].to_list() == [1, 1]
    assert rates["layer"].to_list() == [TRANSCRIBES, TRANSCRIBES]
    assert rates["shuffled"].max() < 0.2
    everything = planted_study[0].frame("rates")
    # A tokenizer that is not made of MFCC is read at its own rate alone.
    assert everything.filter(reading=AGAIN).is_empty()
    assert everything.filter(reading=UNITS_OWN)["rate_hz"].to_list() == [16, 32]
    assert everything.filter(reading=UNITS_OWN)["recall"].to_list() == [1, 1]
    assert everything.filter(reading=UNITS_REFIT)["rate_hz"].to_list() == [12.5]
    assert everything.filter(reading=UNITS_REFIT)["model"].to_list() == [""]


def test_pooled_over_a_whole_word_the_states_still_say_it(planted_study):
    # At 16 Hz a window is a unit, at 16 / 3 Hz the mean of a word's three units.
    pooled = planted_study[0].frame("rates").filter(reading=POOLED)
    assert pooled["recall"].to_list() == [1, 1, 1, 1]
    assert pooled["n_words"].to_list() == [48] * 4


def test_findings_say_what_was_planted(planted_study):
    result, _ = planted_study
    said = {
        name: " ".join(f for f in result.findings if f.startswith(f"`{name}`"))
        for name in ("sixteen", "thirty-two")
    }
    assert "3.00 [3.00, 3.00] units a word" in said["sixteen"]
    assert "single positions of layer 2: no difference with what is heard" in said["sixteen"]
    assert "single positions of layer 2: more of the word heard, more recall" in said["thirty-two"]
    assert "hearing it adds to what was predicted" in said["sixteen"]
    assert "layer 2: half of the words by 33% of them, 0% never (48 words" in said["sixteen"]
    assert "layer 2: half of the words by 100% of them" in said["thirty-two"]
    assert result.findings[-1].startswith("Units alone, with centroids fitted at each rate")


@pytest.mark.slow
def test_the_page_and_the_figure_are_written(planted_study, tmp_path):
    page = report_study(planted_study[0], tmp_path)
    assert (tmp_path / "units.png").stat().st_size > 20_000
    text = page.read_text()
    assert "![Left, recall of the current and the next word by the share" in text
    for name in ("density", "slopes", "isolation", "rates"):
        assert f"**{name}.**" in text
    again = slm_lens.read_study(tmp_path)
    for name in planted_study[0].tables:
        assert again.frame(name).equals(planted_study[0].frame(name))
        assert any(c.startswith("n_") for c in again.frame(name).columns)
    assert again.settings["words"] == "all"


def test_sentences_follow_the_intervals(planted_study):
    result, options = planted_study
    tables = {n: t.frame for n, t in result.tables.items()}
    slopes = tables["slopes"]

    def with_interval(low, high):
        changed = slopes.with_columns(low=pl.lit(low, pl.Float64), high=pl.lit(high, pl.Float64))
        return " ".join(findings(tables | {"slopes": changed}, options))

    assert "more heard, less recall" in with_interval(-0.4, -0.1)
    assert "what is read of it is largely prediction" in with_interval(-0.4, -0.1)
    assert "no difference from what was predicted" in with_interval(-0.4, 0.1)
    assert "no difference with what is heard" in with_interval(None, None)
    nobody = tables["isolation"].clear()
    said = findings(tables | {"isolation": nobody}, options)
    assert "`sixteen`: no word that it reads has an example in another clip." in said


@pytest.fixture(scope="module")
def organism():
    return slm_lens.load("organism")


@pytest.fixture(scope="module")
def three_clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("three")
    for sound, words in slm_lens.clips_of("held-out")[:3]:
        shutil.copy(sound, folder)
        shutil.copy(words, folder)
    return folder


@pytest.mark.slow
def test_clips_are_made_units_again_at_the_rates_that_are_asked_for(organism, three_clips):
    options = UnitsOptions(
        data=str(three_clips), rates_hz=(12.5, 25.0), pooled_hz=(), n_clusters=0, n_bootstrap=0,
        n_draws=2,
    )  # fmt: skip
    result = study_units([organism], options)
    rates = result.frame("rates")
    assert rates["reading"].to_list() == [OWN, AGAIN, UNITS_OWN, UNITS_OWN]
    own, again = rates.row(0, named=True), rates.row(1, named=True)
    assert (own["rate_hz"], again["rate_hz"]) == (25, 12.5)
    # The same from the tokenizer up.
    slow = MfccKMeans(organism.unit_tokenizer.centroids, frame_rate_hz=12.5)
    utterances, lengths = [], []
    for sound, words in slm_lens.clips_of(three_clips):
        units = slow.encode(slm_lens.read_audio(sound, sample_rate_hz=16_000))
        sequence = SpeechTextSequence.from_speech(
            units, slm_lens.read_alignment(words), organism.vocab, marker=False
        )
        utterances.append(Utterance(sound.stem, sequence))
        lengths += [w.end - w.start for w in sequence.words]
    lens = slm_lens.word_lens(
        organism, utterances, function_words=ENGLISH_FUNCTION_WORDS, policy="whole_word", n_draws=2
    )
    content = lens.table.filter("is_content", layer=own["layer"])
    assert again["recall"] == pytest.approx((content["rank_current_text_max"] <= 5).mean())
    assert again["n_words"] == len(content)
    assert again["units_per_word"] == pytest.approx(np.mean(lengths))
    assert again["n_words_without_units"] == lengths.count(0)
    assert result.settings["left_out"]["organism"]["words without units"] == 0


def test_units_alone_by_hand():
    # Two clips say "on" as units 1 2 and "up" as 1 3: after the first unit nobody can tell.
    from slm_lens.speech.alignment import AlignedWord, Alignment
    from slm_lens.speech.units import Units

    words = Alignment((AlignedWord("on", 0.0, 0.2), AlignedWord("up", 0.2, 0.4)))
    units = Units(torch.tensor([1, 2, 1, 3]), torch.ones(4, dtype=torch.int64), 10.0)
    parts = [with_spans(name, units, words) for name in ("a", "b")]
    spoken_here = spoken_words(parts, 4, lambda _: True)
    for heard in ("time", "units"):
        options = UnitsOptions(k=1, heard=heard, n_draws=3)
        hits, shuffled = identity_hits(spoken_here, (0.5, 1.0), options)
        assert hits.tolist() == [[0.5, 1.0]] * 4
        assert shuffled.tolist() == [[0.5, 0.0]] * 4  # the other word, whenever it is drawn
    with pytest.raises(ValueError, match=r"no other word in another clip .*two clips"):
        identity_hits(spoken_words(parts[:1], 4, lambda _: True), (1.0,), options)


@pytest.mark.slow
def test_what_cannot_be_studied_is_refused(tmp_path, monkeypatch):
    out_of_range: list[dict[str, Any]] = [
        {"k": 0}, {"n_draws": 0}, {"n_shares": 1}, {"n_bootstrap": -1}, {"n_clusters": -1},
    ]  # fmt: skip
    for wrong in out_of_range:
        with pytest.raises(ValueError, match=r"study units: got k=.*expected k and n_draws"):
            UnitsOptions(**wrong)
    with pytest.raises(ValueError, match=r"has the unknown entries \['rate'\]"):
        slm_lens.run_study("units", [planted_model()], rate=25.0)
    function_words_only = planted_clips(2)
    model = planted_model(unit_tokenizer=LevelUnits())
    data = write_planted_clips(tmp_path, function_words_only)
    with pytest.raises(ValueError, match=r"got \d+ frames at 12.5 Hz for n_clusters=500, expected"):
        study_units([model], UnitsOptions(data=str(data), n_clusters=500, rates_hz=(12.5,)))
    monkeypatch.setitem(__import__("sys").modules, "sklearn.cluster", None)
    with pytest.raises(ImportError, match=r"without scikit-learn.*slm-lens\[synth\]"):
        study_units([model], UnitsOptions(data=str(data), n_clusters=2))


def test_layers_are_those_of_words_of_other_types():
    # Four words of types 0 to 3: the even ones read at layer 2, the odd ones at layer 1.
    hits = np.zeros((4, 3, 2))
    hits[[0, 2], 2, 1] = hits[[1, 3], 1, 1] = 1
    found = WordHits(
        model="by hand",
        shares=(0.0, 1.0),
        keys=tuple(("clip", i) for i in range(4)),
        clip=np.zeros(4, dtype=int),
        word_type=dict.fromkeys(("current", "next"), np.arange(4)),
        hits={("current", "max", "none"): hits, ("current", "last", "none"): hits},
        n_left_out=0,
    )
    assert found.peaks_of_other_words("current").tolist() == [1, 2, 1, 2]
    assert found.peak_layer("current") == 1  # as good as layer 2, and before it
    one_half = replace(found, word_type={"current": np.array([0, 2, 4, 0])})
    with pytest.raises(
        ValueError, match=r"got current words of by hand of one word type or of one"
    ):
        one_half.peaks_of_other_words("current")


def test_words_without_tokens_are_no_words_to_count():
    build_up = built_up(planted_model(), n_clips=2)
    table = build_up.table.with_columns(is_content=pl.lit(False))
    nothing = type(build_up)(**{**build_up.__dict__, "table": table})
    with pytest.raises(ValueError, match=r"found no word that counts among 12 of planted"):
        word_hits(nothing, UnitsOptions(n_shares=3, heard="units"))


def test_options_are_plain_values():
    assert set(map(type, asdict(UnitsOptions()).values())) == {str, int, tuple}
    assert all(a < b for a, b in pairwise(UnitsOptions(n_shares=4).shares))
    assert N_LAYERS == 6
