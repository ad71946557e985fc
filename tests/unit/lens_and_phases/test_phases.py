import inspect
import json
import math
import sys
from dataclasses import asdict, replace

import numpy as np
import polars as pl
import pytest
import scipy.stats
from handmade import PROVENANCE, word_table
from tiny_speech import FUNCTION

from slm_lens.phases.bootstrap import Curve, layer_interval, resample_weights
from slm_lens.phases.measure import measure_phases
from slm_lens.phases.random_weights import random_weights
from slm_lens.phases.result import LayerEstimate, read_phases

# Four layers (0-3). Speech mass falls below a half and returns at layer 3.
SPEECH = [0.9, 0.2, 0.4, 0.8]
WORDS = [
    {"utterance": "a", "current": [9, 1, 3, 9], "next": [90, 8, 5, 6], "speech": SPEECH,
     "shuffled": [[50, 50], [50, 4], [50, 50], [50, 50]]},
    {"utterance": "a", "current": [9, 5, 6, 9], "next": [90, 90, 1, 90], "speech": SPEECH,
     "shuffled": [[50, 50], [2, 4], [50, 50], [50, 50]]},
    {"utterance": "a", "current": [9, 6, 9, 9], "next": None, "is_last": True, "speech": SPEECH},
    {"utterance": "b", "current": [1, 1, 1, 1], "next": [1, 1, 1, 1], "content": False,
     "next_content": True, "speech": [0.0] * 4},
    {"utterance": "b", "current": None, "next": [90, 90, 9, 90], "speech": SPEECH},
    {"utterance": "b", "current": [9, 9, 9, 5], "next": None, "meet": True, "speech": SPEECH},
]  # fmt: skip


@pytest.fixture(scope="module")
def by_hand():
    return measure_phases(word_table(WORDS, n_layers=3), n_bootstrap=200, seed=1)


def estimates(phases, measure, **keys):
    return phases.curve(measure, **keys)["estimate"].to_list()


def test_recalls_on_paper(by_hand):
    # Content words with tokens: the first three and the last. At layer 1 their ranks are 1, 5, 6
    # and 9; at layer 2 they are 3, 6, 9, 9; at layer 3 only the last is within 5.
    text = {"vocab": "text", "pool": "max"}
    assert estimates(by_hand, "current_word_recall", k=1, **text) == [0, 1 / 4, 0, 0]
    assert estimates(by_hand, "current_word_recall", k=5, **text) == [0, 2 / 4, 1 / 4, 1 / 4]
    assert estimates(by_hand, "current_word_recall", k=10, **text) == [1, 1, 1, 1]
    assert by_hand.n_words == 4
    # Next words that are content words with tokens: of words 1, 2, 4 (itself no content word), 5.
    last = {"vocab": "full", "pool": "last"}
    assert estimates(by_hand, "next_word_recall", k=5, **last) == [1 / 4, 1 / 4, 3 / 4, 1 / 4]
    assert by_hand.n_next_words == 4
    # At any layer: ranks within 5 somewhere are those of words 1, 2 and 6.
    assert estimates(by_hand, "current_word_recall_any_layer", k=5, **text) == [3 / 4]


def test_all_words_on_paper():
    phases = measure_phases(word_table(WORDS, n_layers=3), words="all", n_bootstrap=0)
    text = {"vocab": "text", "pool": "max", "k": 5}
    assert estimates(phases, "current_word_recall", **text) == [1 / 5, 3 / 5, 2 / 5, 2 / 5]
    assert (phases.n_words, phases.n_next_words, phases.words) == (5, 4, "all")


def test_shuffled_words_on_paper(by_hand):
    # At layer 1 one of two draws hits for word 1, both for word 2, none for words 3 and 6.
    keys = {"vocab": "text", "pool": "max", "k": 5}
    for control in ("shuffled", "frequency matched"):
        curve = estimates(by_hand, "current_word_recall", control=control, **keys)
        assert curve == [0, 1.5 / 4, 0, 0]


def test_phase_layers_on_paper(by_hand):
    assert by_hand.current_word.layer == 1
    assert by_hand.next_word.layer == 2
    assert by_hand.layer_difference.layer == 1
    assert by_hand.return_to_speech.layer == 3
    assert estimates(by_hand, "speech_mass") == pytest.approx(SPEECH)


def test_summary_on_paper(by_hand):
    summary = by_hand.summary()
    low, high = (
        by_hand.curve("current_word_recall", vocab="text", pool="max", k=5).row(1, named=True)[
            "low"
        ],
        by_hand.curve("current_word_recall", vocab="text", pool="max", k=5)["high"][1],
    )
    assert summary["current_word"] == {
        "layer": 1,
        "recall_at_1": 1 / 4,
        "recall_at_5": 2 / 4,
        "interval_at_5": [low, high],
        "shuffled_at_5": 1.5 / 4,
    }
    assert list(summary) == [
        "model",
        "lens",
        "provenance",
        "n_utterances",
        "n_words",
        "current_word",
        "next_word",
        "layer_difference_interval",
        "speech_mass_last_layer",
    ]
    assert summary["provenance"] == asdict(PROVENANCE)
    assert list(summary["next_word"]) == list(summary["current_word"])
    assert (summary["model"], summary["n_utterances"], summary["n_words"]) == ("by hand", 2, 4)
    assert summary["next_word"]["recall_at_5"] == 3 / 4
    assert summary["speech_mass_last_layer"] == pytest.approx(0.8)
    assert summary["layer_difference_interval"] == list(by_hand.layer_difference.interval)
    json.dumps(summary, allow_nan=False)


def test_what_was_left_out_is_counted(by_hand):
    assert by_hand.left_out == {
        "words without a token": 1,
        "spoken words without a position": 0,
        "words without a next word": 1,
        "next words without a token": 0,
        "next words whose tokens meet the current word's": 1,
    }


def test_ties_go_to_the_earliest_layer_and_layers_can_be_named():
    words = [{"utterance": "a", "current": [2, 9, 2, 9], "next": [9, 2, 2, 9]}]
    lens = word_table(words, n_layers=3)
    phases = measure_phases(lens, n_bootstrap=0)
    assert (phases.current_word.layer, phases.next_word.layer) == (0, 1)
    later = measure_phases(lens, n_bootstrap=0, current_layers=[1, 2, 3])
    assert (later.current_word.layer, later.layer_difference.layer) == (2, -1)


@pytest.mark.parametrize(
    ("speech", "layer"),
    [
        ([0.9, 0.9, 0.9, 0.9], 2),  # after the next-word peak at layer 1, not at it
        ([0.9, 0.1, 0.9, 0.1], None),  # does not stay
        ([0.9, 0.1, 0.5, 0.5], None),  # 0.5 is not above 0.5
        ([0.9, 0.1, 0.4, 0.6], 3),
    ],
)
def test_return_to_speech(speech, layer):
    word = {"current": [9] * 4, "next": [9, 1, 9, 9], "speech": speech}
    words = [{"utterance": u, **word} for u in "ab"]  # alike, so no resample differs
    phases = measure_phases(word_table(words, n_layers=3), n_bootstrap=20)
    assert phases.return_to_speech == LayerEstimate(layer, (layer, layer))


def test_no_return_when_the_next_word_peaks_at_the_last_layer():
    words = [{"utterance": "a", "current": [9, 9], "next": [9, 1], "speech": [1.0, 1.0]}]
    phases = measure_phases(word_table(words, n_layers=1), n_bootstrap=0)
    assert phases.return_to_speech.layer is None


def test_without_next_words_there_is_no_next_layer_and_the_summary_says_none():
    word = {"current": [9, 1], "next": None, "is_last": True}
    words = [{"utterance": u, **word} for u in "ab"]
    phases = measure_phases(word_table(words, n_layers=1), n_bootstrap=10)
    assert phases.next_word == LayerEstimate(None, (None, None))
    assert phases.layer_difference.layer is None
    assert phases.summary()["next_word"] == {
        "layer": None,
        "recall_at_1": None,
        "recall_at_5": None,
        "interval_at_5": [None, None],
        "shuffled_at_5": None,
    }


def test_chance_lines_on_paper():
    words = [
        {"utterance": "a", "current": [1, 1], "next": [1, 1], "n_targets": 2},
        {"utterance": "a", "current": [1, 1], "next": [1, 1], "n_targets": 1},
    ]
    phases = measure_phases(word_table(words, n_layers=1), n_bootstrap=0)

    def chance(measure, **keys):
        return phases.curve(measure, **keys)["chance"][0]

    # 1 - C(100 - m, 5) / C(100, 5), the mean over m = 2 and m = 1.
    m2, m1 = 1 - math.comb(98, 5) / math.comb(100, 5), 5 / 100
    keys = {"vocab": "text", "pool": "max", "k": 5}
    assert chance("current_word_recall", **keys) == pytest.approx((m2 + m1) / 2)
    keys["vocab"] = "full"
    assert chance("next_word_recall", **keys) == pytest.approx(5 / 130)
    assert chance("text_argmax") == pytest.approx(100 / 130)
    assert chance("other_top10") == pytest.approx(10 / 130)
    assert chance("next_unit_hit") == pytest.approx(1 / 130)
    assert chance("reciprocal_rank_next_unit") == pytest.approx(
        sum(1 / r for r in range(1, 21)) / 20
    )


def random_words(n_utterances, n_words, *, seed=0, n_layers=2):
    rng = np.random.default_rng(seed)
    return [
        {
            "utterance": f"{u:03}",
            "current": rng.integers(1, 12, n_layers + 1).tolist(),
            "next": rng.integers(1, 12, n_layers + 1).tolist(),
            "speech": rng.random(n_layers + 1).tolist(),
        }
        for u in range(n_utterances)
        for _ in range(n_words if n_words else int(rng.integers(1, 5)))
    ]


def test_intervals_are_those_of_a_slow_loop():
    words = random_words(6, 0, seed=4)
    phases = measure_phases(word_table(words, n_layers=2), n_bootstrap=300, seed=8)
    names = sorted({w["utterance"] for w in words})
    draws = np.random.default_rng(8).multinomial(6, [1 / 6] * 6, size=300)
    means, peaks, nexts = [], [], []
    for weights in draws:
        drawn = [w for n, name in zip(weights, names, strict=True) for _ in range(n)
                 for w in words if w["utterance"] == name]  # fmt: skip
        current = [np.mean([w["current"][i] <= 5 for w in drawn]) for i in range(3)]
        following = [np.mean([w["next"][i] <= 5 for w in drawn]) for i in range(3)]
        means.append(current)
        peaks.append(current.index(max(current)))
        nexts.append(following.index(max(following)))
    rows = phases.curve("current_word_recall", vocab="text", pool="max", k=5)
    assert rows["low"].to_list() == pytest.approx(np.percentile(means, 2.5, axis=0).tolist())
    assert rows["high"].to_list() == pytest.approx(np.percentile(means, 97.5, axis=0).tolist())
    for layers, estimate in (
        (peaks, phases.current_word),
        (nexts, phases.next_word),
        ([n - p for n, p in zip(nexts, peaks, strict=True)], phases.layer_difference),
    ):
        # The smallest value with at least 2.5 % (97.5 %) of the resamples at or below it.
        ordered = sorted(layers)
        assert estimate.interval == (ordered[math.ceil(7.5) - 1], ordered[math.ceil(292.5) - 1])
    assert len(set(peaks)) > 1


def test_intervals_agree_with_scipy():
    # One word for each utterance: the mean over words is a plain mean, which scipy resamples.
    words = random_words(60, 1, seed=2)
    lens = word_table(words, n_layers=2)
    phases = measure_phases(lens, n_bootstrap=5000, seed=1)
    hits = np.array([w["current"][1] <= 5 for w in words], dtype=float)
    theirs = scipy.stats.bootstrap(
        (hits,), np.mean, n_resamples=5000, method="percentile", rng=np.random.default_rng(3)
    ).confidence_interval
    row = phases.curve("current_word_recall", vocab="text", pool="max", k=5).row(1, named=True)
    # Values lie on a grid of 1/60; two runs of scipy with other seeds differ by one step at most.
    assert abs(row["low"] - theirs.low) <= 1 / 60 + 1e-9
    assert abs(row["high"] - theirs.high) <= 1 / 60 + 1e-9


def test_resamples_without_a_word_that_counts_are_left_out():
    values = np.array([[1.0], [np.nan]])
    weights = np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    curve = Curve.of(values, np.array([0, 1]), weights)
    assert curve.n_words == 1
    assert np.isnan(curve.resamples[:, 0]).tolist() == [False, True, False]
    assert [x.tolist() for x in curve.interval()] == [[1.0], [1.0]]
    assert all(
        np.isnan(x).all() for x in Curve.of(values, np.array([0, 1]), weights[:0]).interval()
    )
    low, high = layer_interval(np.array([1.0, np.inf, np.nan, np.inf]))
    assert (low, high) == (1.0, np.inf)
    assert np.isnan(layer_interval(np.array([np.nan]))).all()


def test_weights_draw_as_many_utterances_as_there_are():
    weights = resample_weights(7, 50, 0)
    assert (weights.sum(1) == 7).all()
    assert (resample_weights(7, 50, 0) == weights).all()
    assert (resample_weights(7, 50, 1) != weights).any()


def test_random_weights_stand_beside_the_model(model, utterances, lens_of_words):
    from slm_lens.lens.word_lens import word_lens

    untrained = word_lens(
        random_weights(model, seed=1),
        utterances,
        function_words=FUNCTION,
        policy="whole_word",
        n_draws=4,
        seed=5,
    )
    phases = measure_phases(lens_of_words, n_bootstrap=50, controls={"random weights": untrained})
    alone = measure_phases(untrained, n_bootstrap=50)
    keys = {"vocab": "text", "pool": "last", "k": 5}
    control = phases.curve("next_word_recall", control="random weights", **keys)
    assert control.drop("control").equals(alone.curve("next_word_recall", **keys).drop("control"))
    assert phases.curve("speech_mass", control="random weights")["estimate"].is_not_null().all()
    assert phases.n_words == measure_phases(lens_of_words, n_bootstrap=0).n_words
    fast = replace(model.provenance, attention="sdpa", forward="fast")
    assert phases.provenance == lens_of_words.provenance == fast
    assert phases.control_provenance == {"random weights": replace(fast, random_weights_seed=1)}


def test_controls_that_do_not_fit_are_refused():
    lens, other = word_table(WORDS, n_layers=3), word_table(WORDS[:3], n_layers=3)
    with pytest.raises(ValueError, match=r"control 'untrained' has other words, layers or policy"):
        measure_phases(lens, controls={"untrained": other})
    with pytest.raises(ValueError, match=r"has other words, layers or policy"):
        measure_phases(lens, controls={"x": word_table(WORDS, n_layers=3, policy="prefixes")})
    with pytest.raises(ValueError, match=r"a control named 'shuffled', expected another name"):
        measure_phases(lens, controls={"shuffled": lens})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "bfloat16"}, r"with dtype 'bfloat16' instead of 'float32', expected"),
        ({"attention": "sdpa"}, r"with attention 'sdpa' instead of 'eager', expected"),
        ({"forward": "fast"}, r"with forward 'fast' instead of 'hooked', expected"),
        ({"compatibility_mode": True}, r"with compatibility_mode True instead of False, expected"),
        (
            {"weights_processed": True, "dtype": "float64"},
            r"with dtype 'float64' instead of 'float32', weights_processed True instead of False",
        ),
    ],
)
def test_a_control_whose_numbers_mean_something_else_is_refused(changes, message):
    lens = word_table(WORDS, n_layers=3)
    other = word_table(WORDS, n_layers=3, provenance=replace(PROVENANCE, **changes))
    with pytest.raises(ValueError, match=rf"control 'untrained' was read {message}"):
        measure_phases(lens, controls={"untrained": other})
    twin = word_table(WORDS, n_layers=3, provenance=replace(PROVENANCE, name="x", family="y"))
    phases = measure_phases(lens, controls={"untrained": twin}, n_bootstrap=0)
    assert phases.control_provenance == {"untrained": twin.provenance}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ks": (1, 10)}, r"got ks=\(1, 10\), expected ranks >= 1 with 1 and 5"),
        ({"ks": (0, 1, 5)}, r"got ks=\(0, 1, 5\)"),
        ({"n_bootstrap": -1}, r"n_bootstrap=-1"),
        ({"current_layers": []}, r"got current_layers=\[\]"),
        ({"current_layers": [4]}, r"expected at least one of the layers 0 to 3"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        measure_phases(word_table(WORDS, n_layers=3), **options)


def test_a_selection_without_tokens_and_a_torn_table_are_refused():
    function_word = [{"utterance": "a", "current": [1], "next": [1], "content": False}]
    with pytest.raises(ValueError, match=r"none of 0 selected words has a token under policy"):
        measure_phases(word_table(function_word, n_layers=0), n_bootstrap=0)
    with pytest.raises(ValueError, match=r"got one utterance with n_bootstrap=2000, expected at"):
        measure_phases(word_table(function_word, n_layers=0))
    lens = word_table(WORDS, n_layers=3)
    lens.__dict__["table"] = lens.table.filter(pl.col("layer") != 2)
    with pytest.raises(ValueError, match=r"got a table of 18 rows, expected one row for each"):
        measure_phases(lens)


def test_written_and_read_back(tmp_path):
    other = word_table(WORDS, n_layers=3, provenance=replace(PROVENANCE, random_weights_seed=3))
    by_hand = measure_phases(
        word_table(WORDS, n_layers=3), n_bootstrap=200, controls={"random weights": other}
    )
    by_hand.write(tmp_path / "new")
    again = read_phases(tmp_path / "new")
    assert again.curves.equals(by_hand.curves)
    assert again.curves.schema == by_hand.curves.schema
    names = set(by_hand.__dict__) - {"curves"}
    assert all(again.__dict__[n] == by_hand.__dict__[n] for n in names)
    written = json.loads((tmp_path / "new" / "phases.json").read_text())
    assert written["summary"] == json.loads(json.dumps(by_hand.summary()))
    assert again.provenance == PROVENANCE
    assert again.control_provenance["random weights"].random_weights_seed == 3
    assert again.model == "by hand"


def test_phases_without_provenance_are_refused(by_hand, tmp_path):
    with pytest.raises(
        LookupError, match=r"read_phases: no phases\.json and no phases\.parquet in"
    ):
        read_phases(tmp_path)
    by_hand.write(tmp_path)
    written = json.loads((tmp_path / "phases.json").read_text())
    older = {**written, "model": "sims"}
    del older["provenance"]
    (tmp_path / "phases.json").write_text(json.dumps(older))
    with pytest.raises(
        ValueError, match=r"read_phases: .*lacks \['provenance'\] and has \['model'\] besides"
    ):
        read_phases(tmp_path)
    torn = {**written, "control_provenance": {"random weights": {}}}
    (tmp_path / "phases.json").write_text(json.dumps(torn))
    with pytest.raises(
        ValueError, match=r"read_phases: provenance of 'random weights' in .* lacks"
    ):
        read_phases(tmp_path)


def test_an_interruption_leaves_the_earlier_file(by_hand, tmp_path, monkeypatch):
    by_hand.write(tmp_path)
    before = (tmp_path / "phases.parquet").read_bytes()

    def interrupted(_frame, path):
        path.write_bytes(b"half a table")
        raise KeyboardInterrupt

    monkeypatch.setattr(pl.DataFrame, "write_parquet", interrupted)
    with pytest.raises(KeyboardInterrupt):
        by_hand.write(tmp_path)
    assert (tmp_path / "phases.parquet").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["phases.json", "phases.parquet"]


def test_frames(by_hand, monkeypatch):
    import pandas

    assert by_hand.to_frame() is by_hand.curves
    assert by_hand.to_frame(backend="polars") is by_hand.curves
    frame = by_hand.to_frame(backend="pandas")
    assert isinstance(frame, pandas.DataFrame)
    assert frame["estimate"].tolist() == by_hand.curves["estimate"].to_list()
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install pandas"):
        by_hand.to_frame(backend="pandas")


def test_a_curve_that_is_not_there_is_refused_with_those_that_are(by_hand):
    with pytest.raises(LookupError, match=r"expected one of .*'none', 'text', 'max', 5"):
        by_hand.curve("current_word_recall", vocab="text", pool="max", k=7)
    with pytest.raises(LookupError, match=r"expected one of .*speech_mass"):
        by_hand.curve("loudness")


def test_an_unknown_backend_or_selection_is_refused(by_hand):
    with pytest.raises(ValueError, match=r"got backend 'arrow', expected 'polars' or 'pandas'"):
        inspect.unwrap(type(by_hand).to_frame)(by_hand, backend="arrow")
    with pytest.raises(ValueError, match=r"got words='nouns'.*expected words 'content' or 'all'"):
        inspect.unwrap(measure_phases)(word_table(WORDS, n_layers=3), words="nouns")
