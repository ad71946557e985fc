"""Models that are in memory already: hooked without being changed, sharing their weights."""

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

import slm_lens


@pytest.fixture
def soda(published):
    """A Hugging Face model and tokenizer as a user has them."""
    path = published("SODA").path
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)  # sdpa, as by default
    return model.train(), PreTrainedTokenizerFast.from_pretrained(path)


def test_it_is_recognised_and_left_as_it_was(soda, published):
    model, tokenizer = soda
    parts = [(name, type(part)) for name, part in model.named_modules()]
    n_tokens = len(tokenizer)
    hooked = slm_lens.load(model, text_tokenizer=tokenizer)
    assert hooked.provenance.family == "soda"
    assert hooked.provenance.attention == "eager"
    assert not hooked.training
    assert model.training
    assert model.config._attn_implementation == "sdpa"
    assert [(name, type(part)) for name, part in model.named_modules()] == parts
    assert len(tokenizer) == n_tokens
    tokens = torch.randint(0, published("SODA").d_vocab, (1, 9))
    with torch.no_grad():
        assert (hooked(tokens) - published("SODA").reference(tokens)).abs().max() == 0


def test_the_weights_are_shared_and_not_copied(soda):
    model, tokenizer = soda
    hooked = slm_lens.load(model, text_tokenizer=tokenizer)
    own = {p.data_ptr() for p in model.parameters()}
    assert {p.data_ptr() for p in hooked.original_model.parameters()} == own
    with torch.no_grad():
        model.get_input_embeddings().weight[5] += 1
    assert torch.equal(hooked.W_E[5], model.get_input_embeddings().weight[5])


def test_options_that_would_move_it_are_refused(soda):
    model, tokenizer = soda
    with pytest.raises(ValueError, match=r"model in memory, expected none.*model\.to\(device\)"):
        slm_lens.load(model, text_tokenizer=tokenizer, device="cpu")


def test_a_unit_model_needs_no_tokenizer(published):
    folder = published("TWIST, Llama")
    model = LlamaForCausalLM.from_pretrained(folder.path)
    assert slm_lens.load(model).provenance.family == "twist"


def test_the_inner_model_of_slamkit_is_found(published):
    """A SIMS model taken out of its wrapper is recognised by its tokenizer."""
    own = slm_lens.load(published("SIMS, Qwen2 base").path)
    bare = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=own.vocab.d_vocab,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
        )
    )
    hooked = slm_lens.load(bare, text_tokenizer=own.tokenizer)
    assert hooked.provenance.family == "sims"
    assert hooked.vocab.kind_of.tolist() == own.vocab.kind_of.tolist()
    assert hooked.prompt_format == own.prompt_format


def test_what_is_of_no_family_is_told_why(published):
    folder = published("TWIST, Llama")
    model = LlamaForCausalLM.from_pretrained(folder.path)
    delattr(model.config, "offset")
    with pytest.raises(
        ValueError, match=r"(?s)twist: its config has no offset.*VocabSpec"
    ) as error:
        slm_lens.load(model)
    for family in slm_lens.families_by_name():
        assert f"\n  {family}: " in str(error.value)
    spec = slm_lens.VocabSpec(
        streams={"units": slm_lens.StreamSpec(offset=4, count=500)}, has_text=False
    )
    described = slm_lens.load(model, vocab_spec=spec)
    assert described.provenance.family == "described"
    assert described.vocab.streams["units"] == range(4, 504)
