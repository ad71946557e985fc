"""TransformerLens' own tools take a HookedSLM as it is, and say true things about it.

Prompts are mixed: text, a marker, units. Tolerances: the logits of this model reach 8 in float32,
where one rounding is about 5e-7; sums taken in another order differed by at most 3.1e-6.
"""

import pytest
import torch
from transformer_lens import patching
from transformer_lens.head_detector import detect_head
from transformer_lens.tools.analysis.attribution_patching import attribution_patch
from transformer_lens.tools.analysis.direct_logit_attribution import direct_logit_attribution
from transformer_lens.tools.analysis.logit_lens import logit_lens

UN0, SPEECH, TEXT = 38, 58, 59
CLEAN = torch.tensor([[TEXT, 3, 4, SPEECH, UN0 + 7, UN0 + 2, UN0 + 11]])
CORRUPTED = torch.tensor([[TEXT, 3, 5, SPEECH, UN0 + 1, UN0 + 2, UN0 + 11]])
ROUNDING = 1e-5


def unit_minus_word(logits):
    """Logit of unit 3 less that of " lives" at the last position."""
    return logits[0, -1, UN0 + 3] - logits[0, -1, 6]


@pytest.fixture
def clean(tiny_model):
    with torch.no_grad():
        return tiny_model.run_with_cache(CLEAN)


def test_cache_parts_sum_to_the_residual_stream(tiny_model, clean):
    _, cache = clean
    parts, labels = cache.decompose_resid(layer=-1, return_labels=True)
    assert labels == ["embed", "0_attn_out", "0_mlp_out", "1_attn_out", "1_mlp_out"]
    final = cache["blocks.1.hook_resid_post"]
    assert (parts.sum(0) - final).abs().max() < ROUNDING
    layers = cache.accumulated_resid(layer=-1)
    assert torch.equal(layers[0], cache["hook_embed"])
    assert torch.equal(layers[-1], final)
    # The embedding row of each token enters as it is.
    assert torch.equal(layers[0][0], tiny_model.W_E[CLEAN[0]])


def test_cached_heads_sum_to_the_attention_output(own_model):
    own_model.set_use_attn_result(True)
    with torch.no_grad():
        _, cache = own_model.run_with_cache(CLEAN)
    heads = cache.stack_head_results(layer=1)  # of layer 0 alone
    assert heads.shape[0] == own_model.cfg.n_heads
    assert (heads.sum(0) - cache["blocks.0.hook_attn_out"]).abs().max() < ROUNDING


def test_logit_lens_reads_the_models_own_answer_last(tiny_model, clean):
    logits, _ = clean
    result = logit_lens(tiny_model, CLEAN, targets=[UN0 + 3, 6])
    assert result.readout.values.shape == (3, 1, 2)
    assert (result.readout.values[-1, 0] - logits[0, -1, [UN0 + 3, 6]]).abs().max() < ROUNDING
    rank = (logits[0, -1] > logits[0, -1, UN0 + 3]).sum()
    assert result.readout.target_ranks is not None
    assert result.readout.target_ranks[-1, 0, 0] == rank


def test_logit_lens_over_the_units_alone(tiny_model, clean):
    logits, _ = clean
    units = torch.tensor(list(tiny_model.vocab.streams["units"]))
    result = logit_lens(tiny_model, CLEAN, vocab=units, positions=None)
    assert (result.readout.values[-1] - logits[..., units]).abs().max() < ROUNDING


def test_patching_layer_0_everywhere_reproduces_the_clean_run(tiny_model, clean):
    logits, cache = clean
    name = "blocks.0.hook_resid_pre"

    def put_clean(activation, hook):  # noqa: ARG001 (TransformerLens names it)
        return cache[name]

    with torch.no_grad():
        patched = tiny_model.run_with_hooks(CORRUPTED, fwd_hooks=[(name, put_clean)])
    assert (patched - logits).abs().max() == 0


def test_patching_clean_into_clean_changes_nothing(tiny_model, clean):
    logits, cache = clean
    effects = patching.get_act_patch_resid_pre(tiny_model, CLEAN, cache, unit_minus_word)
    assert effects.shape == (2, 7)
    assert (effects - unit_minus_word(logits)).abs().max() == 0


def test_patching_one_position_by_hand(tiny_model, clean):
    logits, cache = clean
    effects = patching.get_act_patch_resid_pre(tiny_model, CORRUPTED, cache, unit_minus_word)
    with torch.no_grad():
        corrupted = unit_minus_word(tiny_model(CORRUPTED))
        # Positions 2 and 4 hold all that differs in layer 0: the embedding of a mixed prompt.
        by_hand = unit_minus_word(tiny_model(torch.cat([CORRUPTED[:, :4], CLEAN[:, 4:]], 1)))
    assert (effects[0, 4] - by_hand).abs() < ROUNDING
    same = effects[0, [0, 1, 3, 5, 6]]  # nothing differs there before the first layer
    assert (same - corrupted).abs().max() < ROUNDING
    assert (unit_minus_word(logits) - corrupted).abs() > 0.1  # so the test can tell them apart


def test_patching_a_head_of_grouped_queries(tiny_model, clean):
    logits, cache = clean
    effects = patching.get_act_patch_attn_head_out_all_pos(
        tiny_model, CLEAN, cache, unit_minus_word
    )
    assert effects.shape == (2, 4)
    assert (effects - unit_minus_word(logits)).abs().max() == 0


def test_attribution_patching_is_the_gradient_times_the_difference(tiny_model, clean):
    _, cache = clean
    result = attribution_patch(tiny_model, CLEAN, CORRUPTED, unit_minus_word)
    # By hand for the MLP of layer 1: it adds to the last residual, so a hook that makes it a
    # leaf gives its gradient.
    name = "blocks.1.hook_mlp_out"
    leaves = []

    def make_leaf(activation, hook):  # noqa: ARG001 (TransformerLens names it)
        leaves.append(activation.detach().requires_grad_())
        return leaves[0]

    unit_minus_word(tiny_model.run_with_hooks(CORRUPTED, fwd_hooks=[(name, make_leaf)])).backward()
    by_hand = ((cache[name] - leaves[0].detach()) * leaves[0].grad).sum().item()
    found = [s for n, s in result.node_scores.items() if n.layer == 1 and "mlp" in str(n)]
    assert sum(found) == pytest.approx(by_hand, abs=ROUNDING)
    assert abs(by_hand) > 100 * ROUNDING


def test_attribution_of_clean_into_clean_is_nothing(tiny_model):
    result = attribution_patch(tiny_model, CLEAN, CLEAN, unit_minus_word)
    assert set(result.node_scores.values()) == {0.0}


def test_direct_logit_attribution_adds_up(own_model):
    own_model.enable_compatibility_mode(disable_warnings=True)
    with torch.no_grad():
        logits = own_model(CLEAN)
    result = direct_logit_attribution(
        own_model, CLEAN, answer_tokens=UN0 + 3, incorrect_tokens=6, unit="component"
    )
    assert result.attribution.sum().item() == pytest.approx(
        unit_minus_word(logits).item(), abs=ROUNDING
    )


def test_compatibility_mode_keeps_the_predictions(own_model, clean):
    logits, _ = clean
    own_model.enable_compatibility_mode(disable_warnings=True)
    with torch.no_grad():
        processed = own_model(CLEAN)
    difference = processed.log_softmax(-1) - logits.log_softmax(-1)
    assert difference.abs().max() < ROUNDING


def test_head_detector_measures_attention_to_the_previous_token(tiny_model):
    text = " the zebra<speech><Un3><Un4>"
    scores = detect_head(tiny_model, text, "previous_token_head")
    with torch.no_grad():
        _, cache = tiny_model.run_with_cache(tiny_model.to_tokens(text), remove_batch_dim=True)
    for layer in range(2):
        pattern = cache["pattern", layer]
        by_hand = pattern.diagonal(offset=-1, dim1=-2, dim2=-1).sum(-1) / pattern.sum((-2, -1))
        assert (scores[layer] - by_hand).abs().max() < ROUNDING
