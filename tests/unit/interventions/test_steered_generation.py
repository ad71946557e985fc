"""What is generated under steering, beside a loop of whole passes with plain hooks."""

import pytest
import torch
from hf_hooks import added, generated
from tiny_speech import N_TEXT, N_UNITS

VECTOR = torch.linspace(-2, 2, 16)


def steering(span, **options):
    from slm_lens.interventions.site import Site
    from slm_lens.interventions.steering.steered import Steering

    return Steering(Site("resid_pre", 2), VECTOR, span=span, **options)


@pytest.mark.parametrize("cache", [True, False])
def test_the_continuation_is_that_of_whole_passes(model, hf_model, utterances, cache):
    from slm_lens.interventions.steering.steered import linear_decay
    from slm_lens.interventions.steering.steered_generation import generate_steered

    prompts = utterances[:2]
    found = generate_steered(
        model,
        prompts,
        steering((3, None), strength=5.0, schedule=linear_decay(20)),
        max_new_tokens=7,
        use_past_kv_cache=cache,
    )
    rows = (1 - torch.arange(20) / 20)[:, None] * 5 * VECTOR
    for prompt, ours in zip(prompts, found.continuations, strict=True):
        tokens = prompt.sequence.tokens[None]
        with added(hf_model, "resid_pre", 2, 3, 23, rows):
            theirs = generated(hf_model, tokens, 7)[0, tokens.shape[1] :]
        assert ours.tokens.tolist() == theirs.tolist()
        assert ours.n_prompt == tokens.shape[1]
    assert found.provenance.hooks == ("blocks.2.hook_in",)
    assert model.provenance.hooks == ()


def test_units_and_text_are_told_apart(model, utterances, vocab):
    from slm_lens.interventions.directions import modality_direction
    from slm_lens.interventions.site import Site
    from slm_lens.interventions.steering.steered import Steering
    from slm_lens.interventions.steering.steered_generation import generate_steered

    to_text = modality_direction(model)
    both = []
    for strength in (50.0, -50.0):
        one = Steering(Site("resid_post", 2), to_text, strength)
        found = generate_steered(model, utterances[:1], one, max_new_tokens=5)
        both += found.continuations
        frame = found.to_frame()
        assert frame["text"].to_list() == [both[-1].text]
        assert frame["units_units"].to_list() == [list(both[-1].units["units"])]
    for c in both:
        ids = c.tokens.tolist()
        assert c.text == "".join(vocab.labels[t] for t in ids if t < N_TEXT)
        units = tuple(t - N_TEXT for t in ids if N_TEXT <= t < N_TEXT + N_UNITS)
        assert c.units["units"] == units
        assert [k == "text" for k in c.kinds] == [t < N_TEXT for t in ids]
    assert both[0].text
    assert both[1].units["units"]


def test_sampling_has_a_seed_and_leaves_the_global_one(model, utterances):
    from slm_lens.interventions.steering.steered_generation import generate_steered

    def sample(prompts, seed):
        found = generate_steered(
            model,
            prompts,
            steering((0, None), strength=0.0),
            max_new_tokens=6,
            temperature=2.0,
            seed=seed,
        )
        return [c.tokens.tolist() for c in found.continuations]

    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    first = sample(utterances[:2], 7)
    assert torch.equal(torch.rand(3), wanted)
    assert sample(utterances[1:2], 7) == first[1:]
    assert sample(utterances[:2], 8) != first


def test_a_stop_token_ends_it(model, utterances):
    from slm_lens.interventions.steering.steered_generation import generate_steered

    none = steering((0, None), strength=0.0)
    whole = generate_steered(model, utterances[:1], none, max_new_tokens=6).continuations[0]
    third = int(whole.tokens[2])
    stopped = generate_steered(model, utterances[:1], none, max_new_tokens=6, stop=[third])
    ids = whole.tokens.tolist()
    assert stopped.continuations[0].tokens.tolist() == ids[: ids.index(third) + 1]


def test_what_does_not_fit_is_refused(model, utterances):
    from slm_lens.interventions.steering.steered_generation import generate_steered

    one = steering((0, None))
    with pytest.raises(ValueError, match="generate_steered: got 0 prompts of 0 names"):
        generate_steered(model, [], one, max_new_tokens=3)
    with pytest.raises(ValueError, match="got 2 prompts of 1 names"):
        generate_steered(model, [utterances[0], utterances[0]], one, max_new_tokens=3)
    with pytest.raises(ValueError, match="max_new_tokens=0"):
        generate_steered(model, utterances[:1], one, max_new_tokens=0)
    with pytest.raises(ValueError, match=r"temperature=-1\.0"):
        generate_steered(model, utterances[:1], one, max_new_tokens=3, temperature=-1.0)
