"""Heads silenced, beside plain hooks on the Hugging Face model."""

from contextlib import ExitStack

import numpy as np
import polars as pl
import pytest
import torch
from hf_hooks import edited, logits_of

CLOSE = 2e-5


@pytest.fixture(scope="module")
def runs(utterances):
    from slm_lens.interventions.runs.measured_run import MeasuredRun

    return [MeasuredRun(x.name, x.sequence, (1, 7), answer=(5,), foil=(8,)) for x in utterances[:3]]


@pytest.fixture(scope="module")
def heads():
    from slm_lens.interventions.site import Site

    return [Site("z", 1, 3), Site("z", 0, 1)]


def ablate(model, runs, heads, **options):
    from slm_lens.interventions import metrics
    from slm_lens.interventions.heads.head_ablation import ablate_heads

    measured = {"answer": metrics.log_prob(), "difference": metrics.logit_difference()}
    return ablate_heads(model, runs, heads, measured, n_bootstrap=30, **options)


def by_hand(hf_model, run, heads, values):
    """Log-probability of the answer and logit difference with heads set to values."""

    def put(head, value):
        def edit(z):
            z = z.clone()
            z[:, 1:7, 4 * head : 4 * head + 4] = value
            return z

        return edit

    with ExitStack() as stack:
        for site in heads:
            value = values.get(site, torch.zeros(4))
            stack.enter_context(edited(hf_model, "z", site.layer, put(site.head, value)))
        logits = logits_of(hf_model, run.sequence.tokens[None])[0, -1].double()
    return [logits.log_softmax(-1)[5].item(), (logits[5] - logits[8]).item()]


def test_zero_together_alone_and_at_random(model, hf_model, runs, heads):
    found = ablate(model, runs, heads, how="zero", n_random=4, seed=1)
    for r, run in enumerate(runs):
        for values, of_set in (
            (found.baseline[:, r], []),
            (found.together[:, r], heads),
            (found.alone[:, r, 0], heads[:1]),
            (found.alone[:, r, 1], heads[1:]),
            *((found.control[:, r, i], found.drawn[i]) for i in range(4)),
        ):
            wanted = by_hand(hf_model, run, of_set, {})
            assert np.abs(values.numpy() - wanted).max() < CLOSE
    assert (found.together - found.baseline).abs().max() > 0.01


def test_the_mean_over_reference_runs(model, hf_model, runs, heads, utterances):
    reference = [x.sequence for x in utterances[5:8]]
    seen = {site: [] for site in heads}

    def keep(site):
        def look(z):
            seen[site].append(z[0, :, 4 * site.head : 4 * site.head + 4])
            return z

        return look

    for run in reference:
        with ExitStack() as stack:
            for site in heads:
                stack.enter_context(edited(hf_model, "z", site.layer, keep(site)))
            logits_of(hf_model, run.tokens[None])
    means = {site: torch.cat(rows).mean(0) for site, rows in seen.items()}
    found = ablate(model, runs, heads, how="mean", reference=reference, n_random=0)
    for r, run in enumerate(runs):
        wanted = by_hand(hf_model, run, heads, means)
        assert np.abs(found.together[:, r].numpy() - wanted).max() < CLOSE
    assert found.control.shape == (2, 3, 0)
    assert set(found.effects()["heads"]) == {"all", "L1H3 z", "L0H1 z"}


def test_drawn_heads_are_others_of_the_nearest_layers(model, runs):
    """Three of four heads of layer 2 are given: one draw there, two of layer 1."""
    from slm_lens.interventions.site import Site

    given = [Site("z", 2, h) for h in range(3)]
    found = ablate(model, runs[:1], given, how="zero", n_random=8, seed=3)
    for drawn in found.drawn:
        assert sorted(s.layer for s in drawn) == [1, 1, 2]
        assert not set(drawn) & set(given)
    assert len({drawn for drawn in found.drawn}) > 2


def test_tables_by_hand(model, runs, heads):
    found = ablate(model, runs, heads, how="zero", n_random=2, seed=1)
    frame = found.to_frame()
    assert len(frame) == 2 * 3 * (1 + 2 + 2)
    row = frame.filter(
        (pl.col("metric") == "answer") & (pl.col("run") == runs[1].name) & (pl.col("draw") == 1)
    )
    wanted = (found.control[0, 1, 1] - found.baseline[0, 1]).item()
    assert row["effect"].to_list() == pytest.approx([wanted])
    effects = {
        x["heads"]: x for x in found.effects().filter(pl.col("metric") == "answer").to_dicts()
    }
    together = (found.together[0] - found.baseline[0]).double().numpy()
    random = (found.control[0].mean(-1) - found.baseline[0]).double().numpy()
    assert effects["all"]["effect"] == pytest.approx(together.mean())
    assert effects["random"]["effect"] == pytest.approx(random.mean())
    assert effects["all - random"]["effect"] == pytest.approx((together - random).mean(), abs=1e-6)
    draws = np.random.default_rng(0 + found.seed).multinomial(3, [1 / 3] * 3, size=30)
    low, high = np.quantile(draws @ together / 3, [0.025, 0.975])
    assert (effects["all"]["low"], effects["all"]["high"]) == pytest.approx((low, high))
    # Three runs: of the eight flips of signs, those with a mean at least as far from 0.
    signs = np.array(np.meshgrid([1, -1], [1, -1], [1, -1])).reshape(3, -1).T
    p = (np.abs((signs * together).mean(1)) >= abs(together.mean()) - 1e-12).mean()
    assert effects["all"]["p_value"] == pytest.approx(p)


@pytest.mark.usefixtures("untyped")
def test_what_does_not_fit_is_refused(model, runs, heads):
    from slm_lens.interventions.site import Site

    with pytest.raises(
        ValueError, match=r"ablate_heads: got 1 heads, 1 of them different, and the "
    ):
        ablate(model, runs, [Site("z", 1)], how="zero")
    with pytest.raises(ValueError, match="ablate_heads: got 2 heads, 1 of them different"):
        ablate(model, runs, [heads[0], heads[0]], how="zero")
    with pytest.raises(ValueError, match="ablate_heads: got head 4 of 'z', expected 0 to 3"):
        ablate(model, runs, [Site("z", 1, 4)], how="zero")
    with pytest.raises(ValueError, match="ablate_heads: got how='none', expected 'zero' or 'mean'"):
        ablate(model, runs, heads, how="none")
    with pytest.raises(ValueError, match="ablate_heads: got 0 reference runs for how='mean'"):
        ablate(model, runs, heads, how="mean")
    many = [Site("z", layer, head) for layer in range(2) for head in range(4)]
    with pytest.raises(
        ValueError, match="8 heads of a model with 4 others, expected n_random >= 0"
    ):
        ablate(model, runs, many, how="zero", n_random=1)
    with pytest.raises(ValueError, match="ablate_heads: got 0 runs with the repeated names"):
        ablate(model, [], heads, how="zero")
    from slm_lens.interventions.heads.head_ablation import ablate_heads

    with pytest.raises(ValueError, match="ablate_heads: got no metric, expected at least one"):
        ablate_heads(model, runs, heads, {}, how="zero")
