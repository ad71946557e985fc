"""Causal tracing against plain hooks, identities, and what it refuses."""

import itertools
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import traced_by_hand as by_hand
from tiny_pairs import N_TEXT, N_UNITS, gpt2_bridge, gqa_model, make_hf_model, sequence, units

from slm_lens.interventions.metrics import answer_probability, log_prob, next_unit_log_prob
from slm_lens.interventions.runs.measured_run import MeasuredRun
from slm_lens.interventions.tracing._trace_places import TRACE_KINDS
from slm_lens.interventions.tracing.causal_trace import causal_trace
from slm_lens.interventions.tracing.traced_subjects import role_of, subject_noise
from slm_lens.sequence.sequence import SpeechTextSequence

N_LAYERS = 4
SEED, N_SAMPLES = 7, 2


@pytest.fixture(scope="module")
def hf():
    return make_hf_model(n_layers=N_LAYERS)


@pytest.fixture(scope="module")
def model():
    return gqa_model(n_layers=N_LAYERS)


@pytest.fixture(scope="module")
def spoken(hf):
    return prompt(hf, "spoken", [N_TEXT + N_UNITS, *units(8, seed=1)], (2, 5))


@pytest.fixture(scope="module")
def written(hf):
    text = SpeechTextSequence(torch.tensor([4, 9, 2, 17, 6]), ("text",) * 5, ())
    return MeasuredRun("written", text, (1, 2), (best(hf, text.tokens),))


def best(hf, tokens):
    return int(by_hand.forward(hf, tokens)[0].argmax())


def prompt(hf, name, tokens, span):
    run = sequence(tokens)
    return MeasuredRun(name, run, span, (best(hf, run.tokens), 3))


def trace(model, prompts, kind: Any = "resid_post", **options):
    options = {"n_samples": N_SAMPLES, "seed": SEED, "progress": False} | options
    return causal_trace(model, prompts, kind, **options)


def noises(prompt, traced):
    sigma = traced.sigma[prompt.sequence.kinds[prompt.span[0]]]
    return by_hand.noise_of(prompt, sigma, SEED, N_SAMPLES)


@pytest.mark.parametrize(
    ("kind", "window"),
    [(k, None) for k in TRACE_KINDS] + [("mlp_out", 3), ("attn_out", 2), ("attn_out", 4)],
)
def test_every_site_and_position_as_hooks_by_hand(hf, model, spoken, kind, window):
    traced = trace(model, [spoken], kind, at="positions", window=window)
    assert traced.window == (window or 1)
    expected = {}
    for layer in range(N_LAYERS):
        # ROME: range(max(0, layer - window // 2), min(num_layers, layer - (-window // 2)))
        first, last = layer - traced.window // 2, layer - (-traced.window // 2)
        for position in range(2, 9):
            restored = [(kind, i, [position]) for i in range(max(0, first), min(N_LAYERS, last))]
            expected[layer, position] = by_hand.effects(
                hf, spoken, noises(spoken, traced), restored=restored
            )
    rows = traced.table
    assert list(zip(rows["layer"], rows["position"], strict=True)) == list(expected)
    found = torch.tensor(rows.select("corrupted", "restored").rows(), dtype=torch.float64)
    torch.testing.assert_close(
        found, torch.tensor(list(expected.values()), dtype=torch.float64), atol=2e-6, rtol=1e-4
    )
    clean = by_hand.probability(by_hand.forward(hf, spoken.sequence.tokens)[0], spoken.answer)
    assert rows["clean"].to_list() == pytest.approx([clean] * len(rows), abs=1e-6)
    assert (
        np.abs((rows["restored"] - rows["corrupted"]).to_numpy()).max() > 1e-3
    )  # something to compare


@pytest.mark.parametrize("severed", ["mlp_out", "attn_out"])
@pytest.mark.parametrize("kind", TRACE_KINDS)
def test_severed_as_hooks_by_hand(hf, model, spoken, kind, severed):
    traced = trace(model, [spoken], kind, severed=severed, at="subject", layers=[0, 2])
    order = ["resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post"]
    positions = [2, 3, 4]
    for row in traced.table.iter_rows(named=True):
        layer = row["layer"]
        behind = [
            (severed, i, positions)
            for i in range(N_LAYERS)
            if (i, order.index(severed)) > (layer, order.index(kind))
        ]
        low, high = by_hand.effects(
            hf,
            spoken,
            noises(spoken, traced),
            restored=[(kind, layer, positions)],
            severed=behind,
        )
        assert (row["corrupted"], row["restored"]) == pytest.approx((low, high), abs=2e-6)
    whole = trace(model, [spoken], kind, at="subject", layers=[0, 2])
    assert np.abs((whole.table["restored"] - traced.table["restored"]).to_numpy()).max() > 1e-4


def test_a_severed_window_cuts_what_lies_between_but_not_what_is_restored(hf, model, spoken):
    for kind, severed, cut in (
        ("attn_out", "mlp_out", [1, 2, 3]),
        ("mlp_out", "attn_out", [2, 3]),
        ("mlp_out", "mlp_out", [3]),
    ):
        traced = trace(model, [spoken], kind, severed=severed, window=2, at="subject", layers=[2])
        low, high = by_hand.effects(
            hf,
            spoken,
            noises(spoken, traced),
            restored=[(kind, i, [2, 3, 4]) for i in (1, 2)],
            severed=[(severed, i, [2, 3, 4]) for i in cut],
        )
        (row,) = traced.table.rows(named=True)
        assert (row["corrupted"], row["restored"]) == pytest.approx((low, high), abs=2e-6)


def test_roles_are_restored_together(hf, model, spoken):
    traced = trace(model, [spoken], layers=[1])
    places = {
        "subject_first": [2],
        "subject_middle": [3],
        "subject_last": [4],
        "next": [5],
        "further": [6, 7],
        "last": [8],
    }
    assert traced.table["role"].to_list() == list(places)
    assert traced.table["label"].to_list() == [f"<{role}>" for role in places]
    for row, positions in zip(traced.table.iter_rows(named=True), places.values(), strict=True):
        _, high = by_hand.effects(
            hf, spoken, noises(spoken, traced), restored=[("resid_post", 1, positions)]
        )
        assert row["restored"] == pytest.approx(high, abs=2e-6)


@pytest.mark.parametrize(
    ("kind", "at", "layers"),
    [("resid_post", "all", None), ("resid_mid", "all", None), ("resid_pre", "all", None),
     ("resid_pre", "subject", [0])],
)  # fmt: skip
def test_restoring_everything_makes_up_the_total_effect(model, spoken, written, kind, at, layers):
    traced = trace(model, [spoken, written], kind, at=at, layers=layers)
    rows = traced.to_frame()
    assert np.abs(rows["total_effect"].to_numpy()).min() > 1e-3
    assert np.abs((rows["effect"] - rows["total_effect"]).to_numpy()).max() < 1e-6
    shares = traced.recovery()["recovery"].to_list()
    assert shares == pytest.approx([1.0] * len(rows), abs=1e-3)


def test_the_last_layer_matters_at_the_last_position_alone(model, spoken):
    rows = trace(model, [spoken], layers=[N_LAYERS - 1]).to_frame()
    effects = dict(zip(rows["role"], rows["effect"], strict=True))
    total = rows["total_effect"][0]
    assert effects.pop("last") == pytest.approx(total, abs=1e-6)
    assert list(effects.values()) == pytest.approx([0.0] * 5, abs=1e-7)


def test_noise_is_three_standard_deviations_of_the_subjects_embeddings(hf, spoken, written):
    import numpy as np

    rows = hf.model.embed_tokens.weight.detach().numpy().astype(np.float64)
    again = MeasuredRun("again", spoken.sequence, (2, 3), (1,))
    subjects = {
        "speech": [*spoken.sequence.tokens[2:5].tolist(), int(spoken.sequence.tokens[2])],
        "text": [int(written.sequence.tokens[1])],
    }
    expected = {m: np.std(rows[ids], ddof=1) for m, ids in subjects.items()}
    prompts = [spoken, again, written]
    found = subject_noise(gqa_model(n_layers=N_LAYERS), prompts, scale=1.0)
    assert found == pytest.approx(expected, rel=1e-6)
    traced = trace(gqa_model(n_layers=N_LAYERS), prompts, unanswered="keep")
    assert traced.sigma == pytest.approx({m: 3 * s for m, s in expected.items()}, rel=1e-6)
    half = trace(gqa_model(n_layers=N_LAYERS), prompts, unanswered="keep", noise_scale=0.5)
    assert half.sigma == pytest.approx({m: s / 2 for m, s in expected.items()}, rel=1e-6)


def test_given_noise_is_taken(hf, model, written):
    traced = trace(model, [written], sigma={"text": 0.25}, layers=[0], at="subject")
    assert traced.sigma == {"text": 0.25}
    low, high = by_hand.effects(
        hf, written, noises(written, traced), restored=[("resid_post", 0, [1])]
    )
    assert traced.table.select("corrupted", "restored").row(0) == pytest.approx(
        (low, high), abs=2e-6
    )


def test_metrics_and_their_spread_over_samples(hf, model, spoken):
    metrics = [answer_probability(), log_prob()]
    traced = trace(model, [spoken], metrics=metrics, layers=[1], at="subject")
    by_metric = {row["metric"]: row for row in traced.table.iter_rows(named=True)}
    assert list(by_metric) == ["probability", "log_prob"]
    each = [
        by_hand.effects(hf, spoken, noise[None], restored=[("resid_post", 1, [2, 3, 4])])
        for noise in noises(spoken, traced)
    ]
    pairs = torch.tensor(each, dtype=torch.float64)
    for name, values in (("probability", pairs), ("log_prob", pairs.log())):
        row = by_metric[name]
        low, high = values.mean(0).tolist()
        assert (row["corrupted"], row["restored"]) == pytest.approx((low, high), abs=1e-5)
        spread = float((values[:, 1] - values[:, 0]).std())
        assert row["sample_sd"] == pytest.approx(spread, abs=1e-5)
    one = trace(model, [spoken], n_samples=1)
    assert one.table["sample_sd"].null_count() == len(one.table)


def test_states_are_read_together_or_apart(model, spoken, monkeypatch):
    together = trace(model, [spoken]).table
    monkeypatch.setattr("slm_lens.interventions.tracing._traced_prompt._MOST_WAITING", 0)
    apart = trace(model, [spoken]).table
    assert apart.drop("restored", "sample_sd").equals(together.drop("restored", "sample_sd"))
    assert np.abs((apart["restored"] - together["restored"]).to_numpy()).max() < 1e-6


def test_seeds(model, spoken, written):
    sigma = {"speech": 1.0, "text": 1.0}
    both = trace(model, [written, spoken], sigma=sigma).table
    alone = trace(model, [spoken], sigma=sigma).table
    assert both.filter(pl.col("prompt") == "spoken").equals(alone)
    mlp = trace(model, [spoken], "mlp_out", sigma=sigma).table
    assert mlp["corrupted"].unique().to_list() == alone["corrupted"].unique().to_list()
    other = trace(model, [spoken], sigma=sigma, seed=SEED + 1).table
    assert not other["corrupted"].equals(alone["corrupted"])


def test_prompts_that_the_model_does_not_answer(hf, model, spoken):
    ranked = by_hand.forward(hf, spoken.sequence.tokens)[0].argsort(descending=True).tolist()
    second = MeasuredRun("second", spoken.sequence, spoken.span, (ranked[1], ranked[5]))
    traced = trace(model, [spoken, second])
    assert traced.n_left_out == 1
    assert traced.table["prompt"].unique().to_list() == ["spoken"]
    assert traced.prompts.rows() == [
        ("spoken", "speech", 9, 2, 5, True, True),
        ("second", "speech", 9, 2, 5, False, False),
    ]
    kept = trace(model, [spoken, second], unanswered="keep")
    assert kept.n_left_out == 0
    assert kept.prompts["answered"].to_list() == [True, False]
    assert kept.table["prompt"].unique(maintain_order=True).to_list() == ["spoken", "second"]
    with pytest.raises(ValueError, match=r"got 1 prompts, none of which the model answers"):
        trace(model, [second])


def test_a_plain_bridge_with_learned_positions():
    bridge = gpt2_bridge()
    run = sequence([3, *units(6, seed=4)])
    with torch.no_grad():
        answer = int(bridge(run.tokens[None])[0, -1].argmax())
    asked = MeasuredRun("gpt2", run, (1, 3), (answer,))
    traced = trace(bridge, [asked], at="all")
    rows = traced.to_frame()
    assert np.abs((rows["effect"] - rows["total_effect"]).to_numpy()).max() < 1e-6
    assert traced.provenance is None
    weights = bridge.original_model.transformer
    embedded = weights.wte.weight[run.tokens[1:3]] + weights.wpe.weight[1:3]
    assert traced.sigma["speech"] == pytest.approx(
        3 * float(embedded.detach().double().std()), rel=1e-6
    )


def test_a_fifth_of_the_layers():
    run = sequence([N_TEXT + N_UNITS, *units(3, seed=1)])
    asked = MeasuredRun("a", run, (1, 2), (1,))
    for n_layers, expected in ((2, 1), (8, 2), (13, 3)):
        model = gqa_model(n_layers=n_layers)
        traced = trace(model, [asked], "mlp_out", unanswered="keep", layers=[0], n_samples=1)
        assert traced.window == expected


def test_hooks_of_the_user_act_in_all_three_runs(model, spoken):
    def halve(state, hook):  # noqa: ARG001
        return state / 2

    with model.hooks(fwd_hooks=[("blocks.1.hook_mlp_out", halve)]):
        traced = trace(model, [spoken], layers=[2], at="subject", unanswered="keep")
        with torch.no_grad():
            logits = model(spoken.sequence.tokens[None])[0, -1]
    assert traced.engine == "whole runs"
    clean = by_hand.probability(logits, spoken.answer)
    assert traced.table["clean"][0] == pytest.approx(clean, abs=1e-6)
    untouched = trace(model, [spoken], layers=[2], at="subject")
    assert untouched.table["clean"][0] != pytest.approx(clean, abs=1e-4)


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ((1, 2), ["subject_last", "next", "further", "last"]),
        ((1, 3), ["subject_first", "subject_last", "next", "last"]),
        ((1, 4), ["subject_first", "subject_middle", "subject_last", "last"]),
        ((1, 5), ["subject_first", "subject_middle", "subject_middle", "subject_last"]),
        ((4, None), ["subject_last"]),
    ],
)
def test_roles(span, expected):
    run = MeasuredRun("a", sequence([N_TEXT + N_UNITS, *units(4, seed=1)]), span, (1,))
    assert [role_of(run, p) for p in range(span[0], 5)] == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"at": "words"}, r"got at='words', expected one of \('roles', "),
        ({"unanswered": "drop"}, r"got unanswered='drop', expected one of \('leave_out', "),
        ({"kind": "z"}, r"got kind='z' and severed=None, expected one of \('resid_pre', "),
        ({"severed": "z"}, r"and severed='z', expected one of"),
        ({"n_samples": 0}, r"n_samples=0, .* expected .* at least one sample"),
        ({"metrics": [log_prob(), log_prob(within="text")]}, r"expected different metrics"),
        ({"metrics": []}, r"causal_trace: got no metric"),
        ({"layers": [N_LAYERS]}, r"got layer 4 of a model of 4 layers"),
        ({"window": 2}, r"got window=2 of 'resid_post' .* and 1 for the residual stream"),
        ({"kind": "mlp_out", "window": 0}, r"got window=0 of 'mlp_out'"),
        ({"kind": "mlp_out", "window": 5}, r"got window=5 .* of 4 layers, expected 1 to 4"),
        ({"sigma": {"text": 1.0}}, r"got sigma=\{'text': 1.0\}, expected .* \['speech'\]"),
        ({"sigma": {"speech": 0.0}}, r"got sigma=\{'speech': 0.0\}, expected a number above 0"),
        ({"noise_scale": 0.0}, r"subject_noise: got 1 runs and scale=0.0"),
    ],
)
def test_refused_options(model, spoken, untyped, options, message):  # noqa: ARG001
    with pytest.raises(ValueError, match=message):
        trace(model, [spoken], **options)


def test_refused_prompts(model, spoken):
    with pytest.raises(ValueError, match=r"causal_trace: got 2 runs with the repeated names"):
        trace(model, [spoken, spoken])
    with pytest.raises(ValueError, match=r"causal_trace: got 0 runs"):
        trace(model, [])
    silent = MeasuredRun("silent", spoken.sequence, spoken.span)
    with pytest.raises(ValueError, match=r"prompts without an answer \['silent'\]"):
        trace(model, [silent])
    mixed = MeasuredRun("mixed", spoken.sequence, (0, 3), (1,))
    with pytest.raises(ValueError, match=r"subject_noise: got the subject \(0, 3\) of 'mixed'"):
        trace(model, [mixed])
    with pytest.raises(ValueError, match=r"causal_trace: got the subject \(0, 3\) of 'mixed'"):
        trace(model, [mixed], sigma={"speech": 1.0})
    marker = MeasuredRun("marker", spoken.sequence, (0, 1), (1,))
    with pytest.raises(ValueError, match=r"with positions of \['marker'\], expected one of"):
        trace(model, [marker])


def test_embeddings_that_do_not_vary_are_refused(spoken):
    model = gqa_model(n_layers=1)
    with torch.no_grad():
        model.original_model.get_input_embeddings().weight.fill_(0.5)
    with pytest.raises(ValueError, match=r"subject_noise: got embeddings whose noise would be"):
        subject_noise(model, [spoken])


def test_an_error_leaves_the_model_as_it_was(model, spoken, written):
    with torch.no_grad():
        before = model(spoken.sequence.tokens[None])
    with pytest.raises(ValueError, match=r"without a speech unit"):
        trace(model, [spoken, written], metrics=[next_unit_log_prob()], severed="mlp_out")
    with torch.no_grad():
        assert torch.equal(model(spoken.sequence.tokens[None]), before)
    assert not list(itertools.chain(*(h.fwd_hooks for h in model.hook_dict.values())))
