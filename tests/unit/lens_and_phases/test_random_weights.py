from dataclasses import replace

import pytest
import torch
from tiny_speech import make_hf_model, make_vocab, wrap

from slm_lens.lens.states import residual_stack
from slm_lens.phases.random_weights import random_weights

TOKENS = torch.tensor([[3, 1, 4, 1, 5]])


def test_weights_are_those_of_a_new_model_and_the_old_model_keeps_its_own(model):
    from transformers import Qwen2ForCausalLM

    with torch.no_grad():
        before = model(TOKENS)
        state = torch.random.get_rng_state()
        twin = random_weights(model, seed=7)
        assert torch.equal(torch.random.get_rng_state(), state)
        torch.manual_seed(7)
        fresh = Qwen2ForCausalLM(model.original_model.config).eval()
        assert torch.equal(twin(TOKENS), fresh(TOKENS).logits)
        assert torch.equal(model(TOKENS), before)


def test_the_copy_has_hooks_of_its_own(model):
    twin = random_weights(model, seed=7)
    assert not torch.equal(residual_stack(twin, TOKENS), residual_stack(model, TOKENS))
    assert torch.equal(
        residual_stack(twin, TOKENS), residual_stack(random_weights(model, seed=7), TOKENS)
    )
    assert twin.vocab.d_vocab == model.vocab.d_vocab
    assert not twin.training


def test_the_provenance_says_that_weights_are_random(model):
    twin = random_weights(model, seed=7)
    assert twin.provenance == replace(model.provenance, random_weights_seed=7)
    assert model.provenance.random_weights_seed is None
    assert random_weights(twin, seed=8).provenance.random_weights_seed == 8


def test_a_model_with_other_parameters_is_refused():
    model = wrap(make_hf_model(), make_vocab())
    model.original_model.config.intermediate_size = 48
    with pytest.raises(ValueError, match=r"random_weights: parameters \['model.layers.0.mlp"):
        random_weights(model, seed=0)
