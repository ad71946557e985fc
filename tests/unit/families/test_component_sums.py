"""Components add up to the model's own output, in every published layout, folded or not.

Tolerances: logits reach 8 in float32; the sums differed from the model's by at most 3e-6.
"""

import pytest
import torch
from folders import WRITERS

import slm_lens

ROUNDING = 2e-5
LAYOUTS = pytest.mark.parametrize("layout", list(WRITERS))


def tokens_of(folder):
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, folder.d_vocab, (2, 12), generator=generator)


def sum_of_parts(model, tokens):
    stack = slm_lens.component_stack(model, tokens, "decomposed")
    return stack.logits().sum(0) + stack.bias_logits()


@LAYOUTS
def test_components_sum_to_the_logits(published, loaded, layout):
    tokens = tokens_of(published(layout))
    parts = sum_of_parts(loaded(layout), tokens)
    # Of the model that never was in TransformerLens.
    assert (parts - published(layout).reference(tokens)).abs().max() < ROUNDING


@LAYOUTS
def test_heads_sum_to_the_attention_output_less_its_bias(published, loaded, layout):
    model, tokens = loaded(layout), tokens_of(published(layout))
    heads = slm_lens.component_stack(model, tokens, "heads")
    outputs = slm_lens.component_stack(model, tokens, "attn_out")
    assert heads.labels[:5] == ("L0H0", "L0H1", "L0H2", "L0H3", "L1H0")
    for layer in (0, 1):
        total = heads.states[4 * layer : 4 * layer + 4].sum(0)
        bias = model.blocks[layer].attn.b_O
        assert (bias is not None) == (layout == "TWIST, OPT")
        expected = outputs.states[layer] - (0 if bias is None else bias)
        assert (total - expected).abs().max() < ROUNDING


@LAYOUTS
# Two norms that GLM's adapter does not fold: the reason to read the gain off the norm itself.
@pytest.mark.filterwarnings("ignore:GlmArchitectureAdapter does not support fold_ln:UserWarning")
def test_compatibility_mode_changes_the_sum_by_a_constant(published, loaded, layout):
    folder = published(layout)
    tokens = tokens_of(folder)
    folded = slm_lens.load(folder.path, compatibility_mode=True, **folder.load)
    parts = sum_of_parts(folded, tokens)
    with torch.no_grad():
        assert (parts - folded(tokens)).abs().max() < ROUNDING
    change = parts - sum_of_parts(loaded(layout), tokens)  # the unembedding may be centred
    assert (change - change.mean(-1, keepdim=True)).abs().max() < ROUNDING
