"""The fast forward of every published layout equals a plain Hugging Face model with SDPA."""

import pytest
import torch
from folders import WRITERS

import slm_lens
from slm_lens.phases.random_weights import random_weights

LAYOUTS = pytest.mark.parametrize("layout", list(WRITERS))


@pytest.fixture(scope="session")
def plain(published):
    """The class of a layout with the weights that loading gives, and no bridge around it."""
    from slm_lens.families.assemble import load_checkpoint
    from slm_lens.model._open import open_checkpoint
    from slm_lens.model._placement import make_placement

    def get(layout: str, attention: str, dtype: torch.dtype = torch.float32):
        folder = published(layout)
        options = {"family": None, "vocab_spec": None, "text_tokenizer": None} | dict(folder.load)
        files, family = open_checkpoint(folder.path, **options)
        placement = make_placement(dtype, None, None, None, None)
        hf_model = load_checkpoint(files, family, placement).hf_model
        hf_model.set_attn_implementation(attention)
        return hf_model

    return get


def expected_states(hf_model, tokens, mask=None):
    """Hugging Face's own hidden states; the last one before the final norm, from the block."""
    base = hf_model.model
    blocks = (base.decoder if hasattr(base, "decoder") else base).layers
    last = []
    handle = blocks[-1].register_forward_hook(
        lambda _m, _a, out: last.append(out[0] if isinstance(out, tuple) else out)
    )
    with torch.no_grad():
        hidden = hf_model(tokens, attention_mask=mask, output_hidden_states=True).hidden_states
    handle.remove()
    return torch.stack([*hidden[:-1], last[0]])


def tokens_of(folder, n=12):
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, folder.d_vocab, (2, n), generator=generator)


@LAYOUTS
@pytest.mark.parametrize(("forward", "attention"), [("fast", "sdpa"), ("hooked", "eager")])
def test_states_are_those_of_the_plain_model_to_the_bit(
    published, loaded, plain, layout, forward, attention
):
    tokens = tokens_of(published(layout))
    stack = slm_lens.residual_stack(loaded(layout), tokens, forward=forward)
    expected = expected_states(plain(layout, attention), tokens)
    assert stack.shape == expected.shape
    if layout == "GLM-4-Voice" and forward == "hooked":  # its bridge splits a fused product
        assert (stack - expected).abs().max() < 1e-5  # 5e-7 seen, with states around 5
    else:
        assert torch.equal(stack, expected)


@LAYOUTS
def test_auto_is_fast_and_a_batch_gives_the_states_of_each_row(published, loaded, layout):
    model, tokens = loaded(layout), tokens_of(published(layout))
    assert torch.equal(
        slm_lens.residual_stack(model, tokens),
        slm_lens.residual_stack(model, tokens, forward="fast"),
    )
    mask = torch.ones_like(tokens, dtype=torch.bool)
    mask[1, 7:] = False
    batch = slm_lens.residual_stack(model, tokens, mask, forward="fast")
    for row, length in enumerate((12, 7)):
        alone = slm_lens.residual_stack(model, tokens[row : row + 1, :length], forward="fast")
        # Largest difference seen: 2e-6, with states up to 10.
        assert (batch[:, row, :length] - alone[:, 0]).abs().max() < 1e-4


@LAYOUTS
def test_random_weights_run_fast(published, loaded, layout):
    tokens = tokens_of(published(layout))
    twin = random_weights(loaded(layout), seed=3)
    fast = slm_lens.residual_stack(twin, tokens, forward="fast")
    torch.manual_seed(3)
    hf_model = type(twin.original_model)(twin.original_model.config).eval()
    hf_model.set_attn_implementation("sdpa")
    assert torch.equal(fast, expected_states(hf_model, tokens))
    hooked = slm_lens.residual_stack(twin, tokens, forward="hooked")
    assert (fast - hooked).abs().max() < 1e-5  # 2e-8 seen
    before = slm_lens.residual_stack(loaded(layout), tokens, forward="fast")
    assert not torch.equal(before, fast)


def test_half_precision_runs_fast_and_moves_states(published, plain):
    folder = published("SIMS, Qwen2 base")
    model = slm_lens.load(folder.path, **dict(folder.load), dtype=torch.bfloat16)
    tokens = tokens_of(folder, n=40)
    fast = slm_lens.residual_stack(model, tokens)
    assert fast.dtype == torch.bfloat16
    hf_model = plain("SIMS, Qwen2 base", "sdpa", torch.bfloat16)
    assert torch.equal(fast, expected_states(hf_model, tokens))
    assert not torch.equal(fast, slm_lens.residual_stack(model, tokens, forward="hooked"))


def test_split_weights_that_no_longer_share_memory_go_through_the_bridge(published):
    """Casting makes a copy of each part of a fused weight; an edit of one is not in the other."""
    model = slm_lens.load(published("GLM-4-Voice").path, **dict(published("GLM-4-Voice").load))
    tokens = tokens_of(published("GLM-4-Voice"))
    with torch.no_grad():
        model.blocks[0].mlp.gate.weight.mul_(2)  # a view: the plain model sees it
    fast = slm_lens.residual_stack(model, tokens, forward="fast")
    hooked = slm_lens.residual_stack(model, tokens, forward="hooked")
    assert (fast - hooked).abs().max() < 1e-4
    model.to(torch.float64)
    with pytest.raises(ValueError, match="split fused weights into tensors of their own"):
        slm_lens.residual_stack(model, tokens, forward="fast")
    assert slm_lens.residual_stack(model, tokens).dtype == torch.float64
