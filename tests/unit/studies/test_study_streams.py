"""The study `streams` on models whose answer is known, and each of its parts by hand."""

import json
import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from planted import N_LAYERS, N_WORDS, PREDICTS, RETURNS, TRANSCRIBES, WORDS, planted_model
from planted_switches import FRAME_RATE_HZ, JUMP, jumping_clips, lagging

import slm_lens
from slm_lens.interventions.metrics import log_prob
from slm_lens.interventions.runs.measured_run import MeasuredRun
from slm_lens.interventions.steering.dose_response import dose_response
from slm_lens.interventions.steering.steered import constant
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.report.study_page import report_study
from slm_lens.studies.streams.findings import findings
from slm_lens.studies.streams.options import StreamsOptions
from slm_lens.studies.streams.reading import CONDITIONS, band_layers, read_streams
from slm_lens.studies.streams.recovery import recovery
from slm_lens.studies.streams.runs import fit_vector, steered_runs
from slm_lens.studies.streams.steering import (
    ALL,
    COSTLY,
    Outcome,
    chosen_rows,
    steered_layers,
    steering_rows,
)
from slm_lens.studies.streams.study import study_streams, study_streams_on
from slm_lens.studies.streams.switches import find_switches, read_clip
from slm_lens.studies.streams.tables import (
    affinity_table,
    first_word_table,
    inertia_table,
)

OPTIONS: dict[str, Any] = {"n_switches": 1, "horizon": 6, "n_draws": 3, "n_bootstrap": 200}


@pytest.fixture(scope="module")
def model():
    return planted_model()


def read(model, options, n_clips=8, seed=0):
    lens = LogitLens(model)
    clips = [read_clip(model, lens, clip) for clip in jumping_clips(n_clips, seed=seed)]
    switches = find_switches(model, clips, options)
    return clips, switches, read_streams(model, clips, switches, options)


@pytest.fixture(scope="module")
def planted(model):
    return read(model, StreamsOptions(**OPTIONS))


def mean(streams, condition, stream, within, layer, position):
    values = streams.values[condition, stream, within][:, layer]
    return float(np.nanmean(values[:, streams.positions.index(position)]))


def test_switches_are_where_another_word_is_heard_than_was_planned(planted):
    clips, switches, streams = planted
    assert [(s.clip, s.word) for s in switches] == [(i, JUMP) for i in range(8)]
    for switch in switches:
        clip = clips[switch.clip]
        last_written = WORDS.index(clip.alignment.words[JUMP - 1].word)
        assert switch.planned == (last_written + 1) % N_WORDS
        assert switch.heard == (WORDS.index(clip.alignment.words[JUMP].word),)
        # <text>, three words, <speech>: the marker is token 4; <speech> and nine units: 9 is last.
        assert (switch.at, switch.at_spoken) == (4, 9)
        units = switch.interrupted.tokens[switch.at + 1 :]
        assert units.tolist() == clip.spoken.tokens[switch.at_spoken + 1 :].tolist()
        assert switch.alone.tokens[switch.at_alone + 1 :].tolist() == units.tolist()
        assert switch.at_alone == 0
    assert streams.n_first.tolist() == [3] * 8
    np.testing.assert_array_equal(streams.ends_s[0], np.arange(1, 7) / FRAME_RATE_HZ)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_planted_layers_are_found_behind_the_switch(planted, condition):
    streams = planted[2]
    for layer in range(N_LAYERS + 1):
        for position in (1, 2, 3, 4):
            heard = mean(streams, condition, "perception", "text", layer, position)
            follows = mean(streams, condition, "next word", "text", layer, position)
            unit = mean(streams, condition, "next unit", "full", layer, position)
            own = mean(streams, condition, "own token", "full", layer, position)
            assert (heard > 0.9) == (TRANSCRIBES <= layer < PREDICTS)
            assert (follows > 0.9) == (PREDICTS <= layer < RETURNS)
            assert (own > 0.9) == (layer == RETURNS)
            # What comes behind the last unit of the jump's word is its own next word's first one.
            assert (unit > 0.9) == (layer == RETURNS)
            assert mean(streams, condition, "old plan", "text", layer, position) < 0.2
        is_text = TRANSCRIBES <= layer < RETURNS
        assert (mean(streams, condition, "text mass", "full", layer, 1) > 0.9) == is_text


def test_before_the_switch_the_plan_is_read_where_the_model_predicts(planted):
    streams = planted[2]
    for layer in range(N_LAYERS + 1):
        plan = mean(streams, "interrupted", "old plan", "text", layer, -1)
        assert (plan > 0.9) == (layer >= PREDICTS)
        assert (mean(streams, "interrupted", "perception", "text", layer, -1) > 0.9) == (
            layer < PREDICTS
        )
    # The run that is all spoken has the same word before the switch, as units.
    assert mean(streams, "uninterrupted", "perception", "text", TRANSCRIBES, 0) > 0.9


def test_controls_are_other_words_at_the_same_place(planted):
    table = affinity_table("planted", planted[2], StreamsOptions(**OPTIONS))
    after = table.filter(
        pl.col("position") > 0, layer=TRANSCRIBES, stream="perception", within="text"
    )
    assert (after["estimate"] > 0.9).all()
    assert (after["control"] < 0.1).all()
    assert after["n_switches"].to_list() == [8] * 18
    assert (after["low"] <= after["estimate"]).all()
    assert (after["high"] >= after["estimate"]).all()


def row_of(table, **values):
    return table.filter(*(pl.col(c) == v for c, v in values.items())).row(0, named=True)


@pytest.mark.slow
def test_a_state_that_keeps_the_plan_for_two_units_has_an_inertia_of_two(model):
    options = StreamsOptions(**OPTIONS)
    with lagging(model, 2):
        streams = read(model, options)[2]
    table = inertia_table("planted", streams, options)
    for layer in (TRANSCRIBES, TRANSCRIBES + 1):
        cut, free, more = (
            row_of(table, layer=layer, condition=c)
            for c in ("interrupted", "uninterrupted", "interrupted less uninterrupted")
        )
        less = row_of(table, layer=layer, condition="interrupted less alone")
        assert (less["length_positions"], less["length_ms"]) == (2, 2000 / FRAME_RATE_HZ)
        assert (cut["length_positions"], cut["median_positions"]) == (2, 2)
        assert (cut["n_crossed"], cut["n_never"], cut["n_switches"]) == (8, 0, 8)
        assert cut["length_ms"] == 2000 / FRAME_RATE_HZ
        assert (free["length_positions"], free["length_ms"]) == (0, 0)
        assert (more["length_positions"], more["length_ms"]) == (2, 2000 / FRAME_RATE_HZ)
        assert (more["positions_low"], more["positions_high"]) == (2, 2)
    other = row_of(table, layer=TRANSCRIBES, condition="another word heard")
    assert other["length_positions"] > 2
    # At the layers where the model predicts, what is heard is gone and the plan is one further.
    assert row_of(table, layers="3 to 4", condition="interrupted")["layer"] is None


def test_without_a_lag_there_is_no_inertia(planted):
    options = StreamsOptions(**OPTIONS)
    table = inertia_table("planted", planted[2], options)
    for condition in ("interrupted", "uninterrupted", "alone", "interrupted less alone"):
        row = row_of(table, layer=TRANSCRIBES, condition=condition)
        assert (row["length_positions"], row["length_ms"]) == (0, 0)
    never = row_of(table, layer=TRANSCRIBES, condition="another word heard")
    assert never["n_never"] + never["n_crossed"] == never["n_switches"]


def test_planted_perception_is_claimed_with_its_size(planted):
    row = row_of(
        first_word_table("planted", planted[2], StreamsOptions(**OPTIONS)),
        condition="interrupted", stream="perception", within="text",
    )  # fmt: skip
    streams = planted[2]
    # Band: 0.375 to 0.75 of 6 layers are 3 and 4; it transcribes at 3 and predicts at 4.
    assert streams.band == (3, 4)
    values = streams.values["interrupted", "perception", "text"][:, 3:5]
    first = streams.positions.index(1)
    assert row["estimate"] == pytest.approx(values[:, :, first : first + 3].mean())
    # Nearly 1 at layer 3 and 0 at layer 4, where some control words are the next one.
    assert row["estimate"] == pytest.approx(0.5, abs=0.01)
    assert 0.35 < row["difference"] < 0.5
    assert 0 < row["low"] <= row["difference"] <= row["high"]
    assert (row["n_switches"], row["n_clips"]) == (8, 8)


@pytest.mark.slow
@pytest.mark.usefixtures("untyped")
def test_null_models_claim_perception_about_as_rarely_as_intervals_allow():
    # Of 100 null models with 10 clips and 3 switches, 2 claimed it: 1 above and 1 below.
    n_seeds, claims = 20, 0
    changes = {"n_switches": 2, "switches": "all", "horizon": 3, "n_before": 1}
    options = StreamsOptions(**OPTIONS | changes)
    model = planted_model(planted=False)
    for seed in range(n_seeds):
        randomise(model, seed)
        streams = read(model, options, n_clips=6, seed=seed)[2]
        row = row_of(
            first_word_table("null", streams, options),
            condition="interrupted", stream="perception", within="text",
        )  # fmt: skip
        claims += not row["low"] <= 0 <= row["high"]
    assert claims <= 3  # of 20: 15 %; P(more) is 2 % at a true rate of 5 %


def randomise(model, seed):
    """Another null model, without building another bridge."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.original_model.named_parameters():
            if "norm" not in name:
                parameter.normal_(0, 0.2, generator=generator)


def test_recovery_by_hand():
    options = StreamsOptions(n_bootstrap=300)
    gap = np.array([1.0, 3.0, 2.0, 2.0])
    effect = np.stack([np.zeros(4), gap, np.array([0.5, 1.5, 3.0, -1.0])], 1)
    found: dict[str, Any] = recovery(effect, gap, np.array([0, 0, 1, 2]), options)
    # Sums of effects over the sum of gaps: 0 / 8, 8 / 8, 4 / 8.
    assert found["recovery"] == [0, 1, 0.5]
    assert found["effect"] == [0, 2, 1]
    assert (found["recovery_low"][:2], found["recovery_high"][:2]) == ([0, 1], [0, 1])
    assert found["recovery_low"][2] < 0.5 < found["recovery_high"][2]
    # A clip alone: 2 / 4, 3 / 2, -1 / 2; no resample can leave that range.
    assert found["recovery_low"][2] >= -0.5
    assert found["recovery_high"][2] <= 1.5


@pytest.mark.parametrize(
    "gap", [[0.05, 0.05, 0.05, 0.05], [2.0, 2.0, -3.5, 0.5], [-1.0, -1.0, -1.0, -1.0]]
)
def test_a_cost_that_is_small_or_may_be_none_gives_no_recovery(gap):
    found = recovery(
        np.ones((4, 1)), np.array(gap), np.array([0, 1, 2, 3]), StreamsOptions(n_bootstrap=300)
    )
    assert found["recovery"] == found["recovery_low"] == found["recovery_high"] == [None]
    assert found["effect"] == [1]


def test_without_resamples_there_are_no_intervals():
    options = StreamsOptions(n_bootstrap=0)
    found = recovery(np.ones((2, 1)), np.full(2, 4.0), np.array([0, 1]), options)
    assert (found["effect"], found["recovery"]) == ([1], [0.25])
    assert found["effect_low"] == found["recovery_high"] == [None]


@pytest.mark.slow
def test_steering_by_the_exact_difference_recovers_all_of_it_and_by_nothing_nothing(model):
    # Behind the last block the whole difference at the last position is all that there is.
    clips, switches, _ = read(model, StreamsOptions(**OPTIONS))
    runs, vectors, free = [], [], []
    lens = LogitLens(model)
    for switch in switches:
        clip = clips[switch.clip]
        cut = switch.interrupted.tokens[: switch.at + 2]
        sequence = type(clip.spoken)(cut, switch.interrupted.kinds[: switch.at + 2], ())
        last = slm_lens.residual_stack(model, cut[None])[-1, 0, -1]
        other = slm_lens.residual_stack(model, clip.written.tokens[None])[-1, 0, -1]
        vectors.append((other - last)[None])
        answer = (int(clip.written.tokens[-1]) + 1) % N_WORDS
        runs.append(MeasuredRun(switch.name, sequence, (switch.at + 1, None), (answer,)))
        free.append(float(lens(other[None]).log_softmax(-1)[0, answer]))
    response = dose_response(
        model, runs, torch.stack(vectors), [0.0, 0.5, 1.0], {"answer": log_prob()},
        layers=[N_LAYERS - 1], schedule=constant, n_random=1, progress=False,
    )  # fmt: skip
    interrupted = response.baseline[0].double().numpy()
    effect = response.values[0, :, 0].double().numpy() - interrupted[:, None]
    gap = np.array(free) - interrupted
    assert gap.min() > 1
    found: dict[str, Any] = recovery(effect, gap, np.arange(8), StreamsOptions(n_bootstrap=0))
    assert found["recovery"][0] == 0
    assert found["recovery"][2] == pytest.approx(1, abs=1e-4)
    assert 0.05 < found["recovery"][1] < 1


def outcome(**changes):
    """Four clips, two layers, two strengths; ``mu`` does 1 at one cell in each half."""
    mu = np.zeros((4, 2, 2))
    mu[[0, 2], 0, 1] = 1.0  # even clips: layer 1, alpha 2
    mu[[1, 3], 1, 0] = 1.0  # odd clips: layer 2, alpha 1
    mu[[0, 2], 1, 0] = 0.25
    zeros = np.zeros_like(mu)
    return Outcome(
        **{
            "metric": "next word",
            "clip": np.arange(4),
            "half": np.arange(4) % 2,
            "interrupted": np.zeros(4),
            "uninterrupted": np.array([2.0, 2.0, 2.0, 0.05]),
            "steered": {"mu": mu, "minus mu": zeros, "random": zeros - 0.5},
            "layers": (1, 2),
            "alphas": (1.0, 2.0),
        }
        | changes
    )


def test_cells_are_chosen_on_the_other_half():
    options = StreamsOptions(n_bootstrap=50, alphas=(1.0, 2.0))
    rows = {(r["switches"], r["direction"]): r for r in chosen_rows("m", outcome(), options)}
    row = rows[ALL, "mu"]
    # Even clips get the odd ones' cell (0.25 there), odd clips the even ones' (0 there).
    assert row["cells"] == "layer 2, 1 and layer 1, 2"
    assert row["effect"] == pytest.approx((0.25 + 0 + 0.25 + 0) / 4)
    assert (row["cost"], row["n_switches"], row["n_clips"]) == (pytest.approx(6.05 / 4), 4, 4)
    assert row["recovery"] == pytest.approx(0.5 / 6.05)
    # Random vectors do -0.5 everywhere, so the vector does 0.5 more at each cell.
    assert (row["random_there"], row["over_random"]) == (-0.5, pytest.approx(0.125 + 0.5))
    # Of the costly ones the last clip is left out; all of them cost 2.
    assert (rows[COSTLY, "mu"]["n_switches"], rows[COSTLY, "mu"]["cost"]) == (3, 2)
    assert rows[COSTLY, "minus mu"]["effect"] == 0


def test_every_cell_has_its_row_and_costly_switches_are_apart():
    options = StreamsOptions(n_bootstrap=0, alphas=(1.0, 2.0))
    rows = pl.DataFrame(list(steering_rows("m", outcome(), options)), infer_schema_length=None)
    assert len(rows) == 2 * 3 * 4
    best = rows.filter(direction="mu", layer=1, alpha=2.0).sort("switches")
    assert best["effect"].to_list() == [2 / 4, pytest.approx(2 / 3)]
    none = outcome(uninterrupted=np.zeros(4))
    only = pl.DataFrame(list(steering_rows("m", none, options)), infer_schema_length=None)
    assert only["switches"].unique().to_list() == [ALL]
    assert only["recovery"].null_count() == len(only)
    alone = outcome(half=np.zeros(4, dtype=int))
    assert list(chosen_rows("m", alone, options)) == []


def test_runs_predict_the_same_and_the_word_again_where_it_is_said_again(model, planted):
    clips, switches, _ = planted
    at_once, again = steered_runs(model, clips, switches, StreamsOptions(**OPTIONS))
    assert (list(at_once.metrics), list(again.metrics)) == (
        ["next word", "next unit"], ["word again"]
    )  # fmt: skip
    for run, switch in zip(at_once.runs, switches, strict=True):
        heard = WORDS.index(clips[switch.clip].alignment.words[JUMP].word)
        first = N_WORDS + 3 * heard
        assert run.sequence.tokens[switch.at :].tolist() == [
            int(switch.interrupted.tokens[switch.at]), first, first + 1, first + 2,
            model.vocab.markers["text"],
        ]  # fmt: skip
        assert run.span == (switch.at, switch.at + 3)
        assert run.answer == ((heard + 1) % N_WORDS,)
    for run, switch in zip(again.runs, switches, strict=True):
        heard = WORDS.index(clips[switch.clip].alignment.words[JUMP].word)
        # Heard as the fourth word, said again as the seventh: two words are written between.
        assert run.answer == (heard,)
        written = [(heard + 1) % N_WORDS, (heard + 2) % N_WORDS]
        assert run.sequence.tokens[-3:-1].tolist() == written
    # Behind <speech> nothing tells the first unit; the other two are certain in both runs, but for
    # the first one of the uninterrupted run, which is a jump as well.
    assert at_once.uninterrupted.shape == (2, 8)


def test_vectors_are_of_perceiving_less_generating_states(model, planted):
    _, switches, _ = planted
    found = fit_vector(model, switches[:4], StreamsOptions(**OPTIONS))
    # In layers 3 and 4 units transcribe in one of both, and written words predict in the other.
    assert found.spoken_share == (1.0, 0.0)
    assert found.theta_perception == pytest.approx(0.5, abs=0.01)
    assert found.theta_generation == pytest.approx(0.5, abs=0.01)


def small(**more):
    return StreamsOptions(
        **OPTIONS | {"n_bootstrap": 20, "n_random": 1, "alphas": (1.0,), "layers": (3, 4)} | more
    )


@pytest.mark.slow
def test_the_whole_study_writes_its_page_and_figures(model, tmp_path):
    result = study_streams_on({model: jumping_clips(6)}, small())
    found = " ".join(result.findings)
    assert "planted: the word that is heard after the switch is more probable than" in found
    assert "no difference: the text before the switch does not delay perception against" in found
    assert set(result.frame("steering")["direction"]) == {"mu", "minus mu", "random"}
    assert set(result.frame("steering")["layer"]) == {3, 4}
    page = report_study(result, tmp_path).read_text()
    assert "Perceiving or generating?" in page
    for name in ("streams", "dose", "layers"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    again = slm_lens.read_study(tmp_path)
    assert again.findings == result.findings
    assert json.loads((tmp_path / "study.json").read_text())["settings"]["layers"] == [3, 4]


@pytest.mark.slow
def test_vectors_of_other_clips_are_one_for_both_halves(model):
    result = study_streams_on(
        {model: jumping_clips(4)}, small(n_bootstrap=0), {model: jumping_clips(3, seed=9)}
    )
    vectors = result.frame("vectors")
    assert vectors["cosine_with_other"].to_list() == pytest.approx([1.0] * len(vectors))
    assert "no interval" in " ".join(result.findings)


@pytest.mark.slow
def test_the_organism_runs_by_name_on_a_folder(tmp_path):
    for sound, words in slm_lens.clips_of("held-out")[:4]:
        shutil.copy(sound, tmp_path)
        shutil.copy(words, tmp_path)
    result = slm_lens.run_study(
        "streams", [slm_lens.load("organism")], data=str(tmp_path), n_switches=1, horizon=4,
        alphas=(1.0,), layers=(6,), n_random=1, n_bootstrap=20,
    )  # fmt: skip
    first = result.frame("first_word").filter(condition="interrupted", stream="perception")
    assert first["n_switches"].to_list() == [4, 4]
    assert all(line.startswith("organism: ") for line in result.findings)
    assert 0 < result.frame("inertia_in_band")["length_ms"][0] < 2000


def test_a_shorter_delay_after_text_is_said_as_it_is(planted):
    options = StreamsOptions(**OPTIONS)
    frames = {
        "first_word": first_word_table("planted", planted[2], options),
        "inertia": inertia_table("planted", planted[2], options),
        "chosen": pl.DataFrame(schema={"model": pl.String, "metric": pl.String}),
    }
    for low, high, says in (
        (1.0, 2.0, "planted: the text before the switch delays perception"),
        (-2.0, -1.0, "perception comes sooner after the text"),
        (-1.0, 1.0, "no difference: the text before the switch does not delay perception"),
    ):
        ends = {"positions_low": low, "positions_high": high}
        changed = frames["inertia"].with_columns(**{c: pl.lit(v) for c, v in ends.items()})
        assert says in " ".join(findings(frames | {"inertia": changed}, options))


@pytest.mark.usefixtures("untyped")
def test_what_cannot_be_read_is_refused(model):
    clips = [read_clip(model, LogitLens(model), c) for c in jumping_clips(4)]
    with pytest.raises(ValueError, match=r"found 0 switches in 0 of 4 clips, expected some in"):
        find_switches(model, clips, StreamsOptions(min_written=9))
    assert len(find_switches(model, clips, StreamsOptions(switches="all", n_switches=9))) == 4 * 5
    with pytest.raises(ValueError, match=r"got band=\(0.4, 0.45\), between two layers of a model"):
        band_layers(6, (0.4, 0.45))
    for layers in ((0,), (7,), (3, 3), ()):
        with pytest.raises(ValueError, match=r"study streams: got layers=.* from 1 to 6, each onc"):
            steered_layers(6, StreamsOptions(layers=layers))
    with pytest.raises(ValueError, match=r"got fit_on='held-out' and the same for data"):
        study_streams([model], StreamsOptions(fit_on="held-out"))
    halved = [c if i % 2 else replace_words(c) for i, c in enumerate(jumping_clips(4))]
    with pytest.raises(ValueError, match=r"got switches in one half of the clips only"):
        study_streams_on({model: halved}, small())


def replace_words(clip):
    """The same clip cut to its first two words: no switch."""
    name, units, alignment = clip
    return name, units, replace(alignment, words=alignment.words[:2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_switches": 0}, r"got \{'n_switches': 0\}, expected at least \{'n_switches': 1\}"),
        ({"band": (0.5, 0.2)}, r"got band=\(0.5, 0.2\), expected two depths"),
        ({"quantile": 1.0}, r"got quantile=1.0 and min_gap=0.1, expected"),
        ({"min_gap": 0.0}, r"got quantile=0.75 and min_gap=0.0, expected"),
        ({"alphas": (0.0, 1.0)}, r"got alphas=\(0.0, 1.0\), expected at least one, each above 0"),
        ({"alphas": ()}, r"got alphas=\(\), expected at least one"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        StreamsOptions(**options)
