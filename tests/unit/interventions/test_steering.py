"""Steering by hand: what is added where, at the layer itself and in what is generated."""

import pytest
import torch
from hf_hooks import added, generated, logits_of
from hypothesis import given, settings
from hypothesis import strategies as st

VECTOR = torch.linspace(-2, 2, 16)


@pytest.fixture(scope="module")
def tokens(utterances):
    return utterances[0].sequence.tokens[None]


def states(model, tokens):
    from slm_lens.lens.states import residual_stack

    return residual_stack(model, tokens, forward="hooked")


def steering(**options):
    from slm_lens.interventions.site import Site
    from slm_lens.interventions.steering.steered import Steering

    return Steering(options.pop("site", Site("resid_post", 1)), VECTOR, **options)


def test_linear_decay_by_hand():
    from slm_lens.interventions.steering.steered import linear_decay

    factors = linear_decay(4)(torch.arange(6))
    assert factors.tolist() == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    with pytest.raises(ValueError, match="linear_decay: got 0 positions, expected at least 1"):
        linear_decay(0)


def test_what_is_added_by_hand():
    from slm_lens.interventions.steering.steered import linear_decay

    added_rows = steering(strength=3.0, span=(2, 4), schedule=linear_decay(3)).added(
        torch.arange(6)
    )
    factors = torch.tensor([0, 0, 3, 2, 0, 0])
    assert torch.allclose(added_rows, factors[:, None] * VECTOR)


def test_strength_0_changes_nothing_to_the_bit(model, tokens):
    from slm_lens.interventions.steering.steered import steered

    before = states(model, tokens)
    with steered(model, steering(strength=0.0)):
        assert torch.equal(states(model, tokens), before)


@settings(max_examples=10)
@given(strength=st.floats(-20, 20, width=32))
def test_strength_is_linear_at_the_layer_itself(model, tokens, strength):
    from slm_lens.interventions.steering.steered import steered

    before = states(model, tokens)
    with steered(model, steering(strength=strength, span=(3, 7))):
        after = states(model, tokens)
    wanted = before[2].clone()
    wanted[:, 3:7] += strength * VECTOR
    assert torch.allclose(after[2], wanted, rtol=0, atol=1e-5)
    assert torch.equal(after[:2], before[:2])
    assert torch.equal(after[3, 0, :3], before[3, 0, :3])  # nothing before the span


@pytest.mark.parametrize("kind", ["resid_pre", "resid_post", "attn_out", "mlp_out"])
def test_steering_is_a_plain_hook_that_adds(model, hf_model, tokens, kind):
    from slm_lens.interventions.site import Site
    from slm_lens.interventions.steering.steered import linear_decay, steered

    rows = torch.tensor([2.0, 1.5, 1.0, 0.5])[:, None] * VECTOR
    with added(hf_model, kind, 2, 4, 8, rows):
        theirs = logits_of(hf_model, tokens)
    one = steering(site=Site(kind, 2), strength=2.0, span=(4, None), schedule=linear_decay(4))
    with steered(model, one), torch.no_grad():
        ours = model(tokens, return_type="logits")
    assert (ours - theirs).abs().max() < 2e-5


def test_steering_the_middle_is_steering_what_attention_adds(model, tokens):
    from slm_lens.interventions.site import Site
    from slm_lens.interventions.steering.steered import steered

    runs = []
    for kind in ("resid_mid", "attn_out"):
        with steered(model, steering(site=Site(kind, 1), span=(2, 9))):
            runs.append(states(model, tokens))
    assert (runs[0] - runs[1]).abs().max() < 2e-5


def test_several_at_once_add_up(model, tokens):
    from slm_lens.interventions.steering.steered import steered

    with steered(model, [steering(strength=1.0), steering(strength=2.0, span=(5, None))]):
        together = states(model, tokens)[2]
    with (
        steered(model, steering(strength=1.0)),
        steered(model, steering(strength=2.0, span=(5, None))),
    ):
        assert torch.equal(states(model, tokens)[2], together)
    alone = states(model, tokens)[2]
    assert torch.allclose(together[0, 6] - alone[0, 6], 3 * VECTOR, atol=1e-5)


@pytest.mark.parametrize("cache", [True, False])
def test_a_decay_that_begins_in_the_prompt_ends_among_what_is_generated(
    model, hf_model, tokens, cache
):
    from slm_lens.interventions.steering.steered import linear_decay, steered

    n = tokens.shape[1]
    factors = torch.arange(6, 0, -1) / 6 * 4.0
    with added(hf_model, "resid_post", 1, n - 2, n + 4, factors[:, None] * VECTOR):
        theirs = generated(hf_model, tokens, 8)
    one = steering(strength=4.0, span=(n - 2, None), schedule=linear_decay(6))
    with steered(model, one):
        ours = model.generate(
            tokens,
            max_new_tokens=8,
            do_sample=False,
            stop_at_eos=False,
            return_type="tokens",
            verbose=False,
            use_past_kv_cache=cache,
        )
    assert ours.tolist() == theirs.tolist()
    assert theirs.tolist() != generated(hf_model, tokens, 8).tolist()


def test_what_does_not_fit_is_refused(model):
    from slm_lens.interventions.site import Site
    from slm_lens.interventions.steering.steered import Steering, steered

    with pytest.raises(ValueError, match=r"Steering: got L1H0 z, expected a site as wide"):
        steering(site=Site("z", 1, 0))
    with pytest.raises(ValueError, match=r"Steering: got the span \(4, 4\)"):
        steering(span=(4, 4))
    narrow = Steering(Site("resid_post", 1), VECTOR[:8])
    with (
        pytest.raises(ValueError, match=r"steered: got a vector of width 8, expected d_model = 16"),
        steered(model, narrow),
    ):
        pass
    with (
        pytest.raises(ValueError, match="got layer 9 of a model of 3 layers"),
        steered(model, steering(site=Site("resid_post", 9))),
    ):
        pass
