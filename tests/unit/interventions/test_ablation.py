"""Ablations beside numpy and plain hooks."""

from typing import Any, cast

import numpy as np
import pytest
import torch
from hf_hooks import edited, logits_of


@pytest.fixture
def tokens(utterances):
    return utterances[0].sequence.tokens[None]


def logits(model, tokens):
    with torch.no_grad():
        return model(tokens, return_type="logits")


def test_zero_of_a_head(model, hf_model, tokens):
    from slm_lens.interventions.ablation.projection import ablated
    from slm_lens.interventions.site import Site

    def without(z):
        z = z.clone()
        z[:, :, 4:8] = 0
        return z

    with edited(hf_model, "z", 1, without):
        theirs = logits_of(hf_model, tokens)
    with ablated(model, [Site("z", 1, 1)], "zero"):
        assert (logits(model, tokens) - theirs).abs().max() < 2e-5


def test_mean_over_the_positions_of_the_reference_runs(model, hf_model, utterances, tokens):
    from slm_lens.interventions.ablation.projection import ablated
    from slm_lens.interventions.site import Site

    seen = []
    runs = [x.sequence for x in utterances[3:6]]

    def keep(output):
        seen.append(output[0].double().numpy())
        return output

    with edited(hf_model, "mlp_out", 1, keep):
        for run in runs:
            logits_of(hf_model, run.tokens[None])
    mean = torch.tensor(np.concatenate(seen).mean(0), dtype=torch.float32)

    def put(output):
        output = output.clone()
        output[:, 2:6] = mean
        return output

    with edited(hf_model, "mlp_out", 1, put):
        theirs = logits_of(hf_model, tokens)
    with ablated(model, [Site("mlp_out", 1)], "mean", reference=runs, span=(2, 6)):
        assert (logits(model, tokens) - theirs).abs().max() < 2e-5


@pytest.mark.parametrize("kind", ["z", "resid_mid"])
def test_resampled_positions_come_from_the_pool_and_stay_the_same(model, utterances, tokens, kind):
    from slm_lens.interventions.ablation.projection import ablated, reference_activations
    from slm_lens.interventions.site import Site

    site, runs = Site(kind, 1), [x.sequence for x in utterances[1:3]]
    pool = reference_activations(model, [site], runs)[site]
    assert len(pool) == sum(len(run) for run in runs)
    read = []
    for seed in (0, 0, 1):
        with ablated(model, [site], "resample", reference=runs, seed=seed), torch.no_grad():
            _, cache = model.run_with_cache(tokens)
            read.append(cache[site.hook][0])
    distance = (read[0].flatten(1)[:, None] - pool.flatten(1)[None]).abs().amax(-1)
    assert distance.amin(1).max() < 1e-5
    assert len(set(distance.argmin(1).tolist())) > len(pool) // 4
    assert torch.equal(read[0], read[1])
    assert not torch.equal(read[0], read[2])


def test_resampling_is_the_same_with_a_cache_of_keys_and_values(model, utterances, tokens):
    from slm_lens.interventions.ablation.projection import ablated
    from slm_lens.interventions.site import Site

    out = []
    with ablated(model, [Site("resid_post", 0)], "resample", reference=[utterances[1].sequence]):
        for cache in (True, False):
            out += [
                model.generate(
                    tokens,
                    max_new_tokens=8,
                    do_sample=False,
                    stop_at_eos=False,
                    return_type="tokens",
                    verbose=False,
                    use_past_kv_cache=cache,
                )
            ]
    assert out[0].tolist() == out[1].tolist()


def test_an_attention_pattern_is_zeroed(model, tokens):
    from slm_lens.interventions.ablation.projection import ablated
    from slm_lens.interventions.site import Site

    with ablated(model, [Site("pattern", 1, 2)], "zero"), torch.no_grad():
        _, cache = model.run_with_cache(tokens)
    z = cache["blocks.1.attn.hook_z"][0]
    assert (z[:, 2] == 0).all()
    assert (z[:, [0, 1, 3]] != 0).any(-1).all()


def test_projecting_out_words_takes_their_lens_logits_away(model, vocab, tokens):
    """By numpy: with the directions gone, ln_final and the rows give 0, whatever is left."""
    from slm_lens.interventions.ablation.projection import Projection, projected_out
    from slm_lens.interventions.directions import orthonormal, word_directions
    from slm_lens.interventions.site import Site
    from slm_lens.lens.logit_lens import LogitLens
    from slm_lens.lens.states import residual_stack

    ids = vocab.word_tokens("fox", "whole_word")
    basis = orthonormal(word_directions(model, ids))
    with projected_out(model, Projection(Site("resid_post", 1), basis, (3, 8))):
        stack = residual_stack(model, tokens)
    read = LogitLens(model)(stack)[2, 0][:, list(ids)]
    before = LogitLens(model)(residual_stack(model, tokens, forward="hooked"))[2, 0][:, list(ids)]
    assert read[3:8].abs().max() < 1e-5
    assert before[3:8].abs().max() > 0.5
    assert torch.equal(read[:3], before[:3])
    clean = residual_stack(model, tokens, forward="hooked")[2, 0, 3:8].double().numpy()
    q, _ = np.linalg.qr(word_directions(model, ids).double().numpy().T)
    wanted = clean - clean @ q @ q.T
    assert np.abs(stack[2, 0, 3:8].numpy() - wanted).max() < 1e-5


def test_projecting_twice_is_projecting_once_and_other_directions_stay():
    from slm_lens.interventions.ablation.projection import Projection
    from slm_lens.interventions.directions import orthonormal, random_directions
    from slm_lens.interventions.site import Site

    basis = orthonormal(random_directions(3, 16, length=2.0, seed=0))
    projection = Projection(Site("resid_post", 1), basis)
    states = torch.randn(5, 16)
    once = projection.without(states)
    assert torch.allclose(projection.without(once), once, atol=1e-6)
    assert (once @ basis.T).abs().max() < 1e-6
    q, _ = np.linalg.qr(np.concatenate([basis.numpy(), np.eye(16)])[:16].T)
    others = torch.tensor(q[:, 3:]).float()
    assert torch.allclose(once @ others, states @ others, atol=1e-5)


@pytest.mark.usefixtures("untyped")
def test_what_does_not_fit_is_refused(model, utterances):
    from slm_lens.interventions.ablation.projection import Projection, ablated, projected_out
    from slm_lens.interventions.site import Site

    site, runs = Site("z", 1), [utterances[0].sequence]
    for message, sites, how, reference in (
        (
            r"ablated: got how='none', expected one of \('zero', 'mean', 'resample'\)",
            [site],
            "none",
            (),
        ),
        (r"got 0 reference runs for how='mean', expected some", [site], "mean", ()),
        (r"got 1 reference runs for how='zero', expected some for", [site], "zero", runs),
        (
            r"how='mean' for an attention pattern, expected 'zero'",
            [Site("pattern", 0)],
            "mean",
            runs,
        ),
        (r"ablated: got no site", [], "zero", ()),
    ):
        with (
            pytest.raises(ValueError, match=message),
            ablated(model, sites, cast(Any, how), reference=reference),
        ):
            pass
    with pytest.raises(ValueError, match="Projection: got rows whose products differ from 0 and 1"):
        Projection(Site("resid_post", 1), torch.ones(2, 16))
    with pytest.raises(ValueError, match="products differ from 0 and 1 by up to nan"):
        Projection(Site("resid_post", 1), torch.full((1, 16), torch.nan))
    with pytest.raises(
        ValueError, match=r"Projection: got a basis of shape \(0, 16\), expected at"
    ):
        Projection(Site("resid_post", 1), torch.ones(0, 16))
    with pytest.raises(ValueError, match="Projection: got L1 z, expected a site as wide"):
        Projection(site, torch.eye(16)[:1])
    with (
        pytest.raises(ValueError, match="projected_out: got a vector of width 8, expected d_model"),
        projected_out(model, Projection(Site("resid_post", 1), torch.eye(8)[:1])),
    ):
        pass
