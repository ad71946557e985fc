"""Dose and response beside plain hooks on the Hugging Face model, metric by metric.

Tolerance: the engine resumes runs and attends through another kernel; measured at most 4e-6.
"""

import numpy as np
import polars as pl
import pytest
import torch
from hf_hooks import added, logits_of

VECTOR = torch.linspace(-1, 1, 16)
STRENGTHS = (-2.0, 0.0, 1.5)


@pytest.fixture(scope="module")
def runs(utterances):
    from slm_lens.interventions.runs.measured_run import MeasuredRun

    return [
        MeasuredRun(x.name, x.sequence, (2, 6), answer=(3 + i,), foil=(9,))
        for i, x in enumerate(utterances[:3])
    ]


@pytest.fixture(scope="module")
def response(model, runs):
    from slm_lens.interventions import metrics
    from slm_lens.interventions.steering.dose_response import dose_response
    from slm_lens.interventions.steering.steered import linear_decay

    return dose_response(
        model,
        runs,
        VECTOR,
        STRENGTHS,
        {
            "answer": metrics.log_prob(),
            "against foil": metrics.logit_difference(),
            "text": metrics.modality_mass("text"),
            "units": metrics.next_unit_log_prob(),
        },
        layers=[0, 2],
        schedule=linear_decay(3),
        n_random=2,
        n_bootstrap=50,
        seed=4,
    )


def by_hand(hf_model, vocab, run, layer, vector, strength):
    """The four metrics from the logits of a hooked Hugging Face model."""
    rows = torch.tensor([1, 2 / 3, 1 / 3, 0])[:, None] * strength * vector
    with added(hf_model, "resid_post", layer, 2, 6, rows):
        logits = logits_of(hf_model, run.sequence.tokens[None])[0].double()
    logs = logits.log_softmax(-1)
    tokens = run.sequence.tokens
    following = [i for i in range(len(tokens) - 1) if run.sequence.kinds[i + 1] == "speech"]
    return [
        logs[-1, run.answer[0]].item(),
        (logits[-1, run.answer[0]] - logits[-1, 9]).item(),
        logs[-1, list(vocab.text)].exp().sum().item(),
        np.mean([logs[i, tokens[i + 1]].item() for i in following]),
    ]


def test_every_value_is_that_of_plain_hooks(response, hf_model, vocab, runs):
    for r, run in enumerate(runs):
        base = by_hand(hf_model, vocab, run, 0, VECTOR, 0.0)
        assert np.abs(response.baseline[:, r].numpy() - base).max() < 2e-5
        for i, layer in enumerate((0, 2)):
            for j, strength in enumerate(STRENGTHS):
                wanted = by_hand(hf_model, vocab, run, layer, VECTOR, strength)
                assert np.abs(response.values[:, r, i, j].numpy() - wanted).max() < 2e-5
    assert (response.values - response.baseline[:, :, None, None]).abs().max() > 0.1


def test_the_control_is_random_vectors_of_the_same_norm(response, hf_model, vocab, runs):
    generator = torch.Generator().manual_seed(4)
    drawn = torch.randn(2, 16, generator=generator)
    drawn = drawn / drawn.norm(dim=1, keepdim=True) * VECTOR.norm()
    for draw in range(2):
        wanted = by_hand(hf_model, vocab, runs[1], 2, drawn[draw], 1.5)
        assert np.abs(response.control[:, 1, 1, 2, draw].numpy() - wanted).max() < 2e-5


def test_strength_0_has_no_effect(response):
    none = response.values[..., 1] - response.baseline[:, :, None]
    assert none.abs().max() < 1e-5


def test_one_row_for_each_measurement(response, runs):
    frame = response.to_frame()
    assert len(frame) == 4 * 3 * 2 * 3 * (1 + 2)
    row = frame.filter(
        (pl.col("metric") == "units")
        & (pl.col("run") == runs[2].name)
        & (pl.col("layer") == 2)
        & (pl.col("strength") == -2.0)
    )
    assert row["direction"].to_list() == ["vector", "random", "random"]
    assert row["draw"].to_list() == [None, 0, 1]
    wanted = [response.values[3, 2, 1, 0], *response.control[3, 2, 1, 0]]
    assert row["value"].to_list() == pytest.approx([x.item() for x in wanted])
    assert (row["value"] - row["baseline"]).to_list() == pytest.approx(row["effect"].to_list())


def test_curves_are_means_over_runs_with_intervals(response):
    curves = response.curves()
    assert len(curves) == 4 * 2 * 3
    row = curves.filter(
        (pl.col("metric") == "answer") & (pl.col("layer") == 0) & (pl.col("strength") == 1.5)
    ).row(0, named=True)
    effects = (response.values[0, :, 0, 2] - response.baseline[0]).double().numpy()
    control = (response.control[0, :, 0, 2].mean(-1) - response.baseline[0]).double().numpy()
    # The bootstrap by hand: which runs are drawn does not depend on the metric.
    draws = np.random.default_rng(4).multinomial(3, [1 / 3] * 3, size=50)
    low, high = np.quantile(draws @ effects / 3, [0.025, 0.975])
    assert row["effect"] == pytest.approx(effects.mean())
    assert (row["low"], row["high"]) == pytest.approx((low, high))
    assert row["control"] == pytest.approx(control.mean())


def test_a_vector_for_each_layer_and_no_control(model, runs):
    from slm_lens.interventions import metrics
    from slm_lens.interventions.steering.dose_response import dose_response

    rows = torch.stack([VECTOR, 2 * VECTOR, -VECTOR])
    options = {"layers": None, "n_random": 0, "n_bootstrap": 3, "kind": "resid_pre"}
    each = dose_response(model, runs, rows, [1.0], {"a": metrics.log_prob()}, **options)
    same = dose_response(
        model, runs, VECTOR, [1.0, 2.0, -1.0], {"a": metrics.log_prob()}, **options
    )
    for layer, strength in enumerate([0, 1, 2]):
        wanted = same.values[0, :, layer, strength]
        assert (each.values[0, :, layer, 0] - wanted).abs().max() < 1e-5
    assert each.control.shape[-1] == 0
    assert each.curves()["control"].to_list() == [None] * 3


def test_a_plain_bridge_has_no_provenance(runs):
    from tiny_speech import make_hf_model, make_vocab, wrap
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    from slm_lens.interventions import metrics
    from slm_lens.interventions.steering.dose_response import dose_response

    own = wrap(make_hf_model(), make_vocab())
    hf = make_hf_model()
    plain = build_bridge_from_module(hf, "Qwen2ForCausalLM", hf_config=hf.config).eval()
    one = {"a": metrics.log_prob()}
    ours = dose_response(own, runs[:1], VECTOR, [1.0], one, n_random=1, n_bootstrap=2)
    theirs = dose_response(plain, runs[:1], VECTOR, [1.0], one, n_random=1, n_bootstrap=2)
    assert theirs.provenance is None
    assert ours.provenance is not None
    assert (ours.values - theirs.values).abs().max() < 1e-5


def test_what_does_not_fit_is_refused(model, runs):
    from slm_lens.interventions import metrics
    from slm_lens.interventions.runs.measured_run import MeasuredRun
    from slm_lens.interventions.steering.dose_response import dose_response

    one = {"a": metrics.log_prob()}
    with pytest.raises(ValueError, match="dose_response: got 0 runs with the repeated names"):
        dose_response(model, [], VECTOR, [1.0], one)
    with pytest.raises(ValueError, match=r"2 runs with the repeated names \['sentence 0'\]"):
        dose_response(model, [runs[0], runs[0]], VECTOR, [1.0], one)
    with pytest.raises(ValueError, match=r"got the strengths \[\] and n_random=5"):
        dose_response(model, runs, VECTOR, [], one)
    with pytest.raises(ValueError, match="dose_response: got a vector of width 8"):
        dose_response(model, runs, VECTOR[:8], [1.0], one)
    with pytest.raises(ValueError, match=r"got vectors of shape \(2, 16\) for 3 runs and 3 layers"):
        dose_response(model, runs, torch.stack([VECTOR, VECTOR]), [1.0], one)
    with pytest.raises(ValueError, match=r"MeasuredRun 'x': got the span \(2, 99\) of a run of"):
        MeasuredRun("x", runs[0].sequence, (2, 99))
    with pytest.raises(ValueError, match=r"MeasuredRun 'x': got the span \(3, 3\), expected"):
        MeasuredRun("x", runs[0].sequence, (3, 3))
