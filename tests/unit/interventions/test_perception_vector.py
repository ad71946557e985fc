"""The perception vector beside means by numpy, on states that are known."""

import numpy as np
import pytest
import torch
from planted import N_WORDS, SPEECH_MARKER, planted_model

import slm_lens
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.vocab import TokenKind


@pytest.fixture(scope="module")
def model():
    return planted_model()


def run(*tokens):
    kinds = tuple[TokenKind, ...](
        "marker" if t == SPEECH_MARKER else "text" if t < N_WORDS else "speech" for t in tokens
    )
    return SpeechTextSequence(torch.tensor(tokens), kinds, ())


U = N_WORDS  # token of unit 0
RUNS = [run(SPEECH_MARKER, U, U + 1, 2), run(3, U + 4, 5)]
NAN = float("nan")
PERCEIVED = [torch.tensor([NAN, 0.9, 0.2, NAN]), torch.tensor([NAN, 0.6, NAN])]
GENERATED = [torch.tensor([0.0, 0.1, 0.7, 0.8]), torch.tensor([0.95, 0.55, 0.5])]


def test_it_is_the_difference_of_two_clusters_of_states(model):
    found = slm_lens.perception_vector(
        model, RUNS, PERCEIVED, GENERATED, theta_perception=0.5, theta_generation=0.5
    )
    # Above 0.5 are units 0 and 4; and unit 1, word 2, word 3 and unit 4. 0.5 itself is not.
    assert (found.n_perceiving, found.n_generating) == (2, 4)
    rows = model.original_model.get_submodule("model.embed_tokens").weight.detach().double().numpy()
    by_hand = rows[[U, U + 4]].mean(0) - rows[[U + 1, 2, 3, U + 4]].mean(0)
    np.testing.assert_allclose(found.vectors[0].numpy(), by_hand, atol=1e-6)
    stacks = [slm_lens.residual_stack(model, r.tokens[None])[:, 0].double().numpy() for r in RUNS]
    perceiving = np.stack([stacks[0][:, 1], stacks[1][:, 1]])
    generating = np.stack([stacks[0][:, 2], stacks[0][:, 3], stacks[1][:, 0], stacks[1][:, 1]])
    np.testing.assert_allclose(
        found.vectors.numpy(), perceiving.mean(0) - generating.mean(0), atol=1e-5
    )


@pytest.mark.usefixtures("untyped")
def test_what_is_not_in_step_and_thresholds_without_states_are_refused(model):
    with pytest.raises(ValueError, match=r"got generation of \[4\] positions for runs of \[4, 3\]"):
        slm_lens.perception_vector(
            model, RUNS, PERCEIVED, GENERATED[:1], theta_perception=0.5, theta_generation=0.5
        )
    with pytest.raises(ValueError, match=r"got 0 positions above theta_perception=0.9 and 1 above"):
        slm_lens.perception_vector(
            model, RUNS, PERCEIVED, GENERATED, theta_perception=0.9, theta_generation=0.9
        )
