"""The middle of the stream in blocks of other makes: what is put there is what both paths see.

Tolerance: one rounding of a sum of numbers up to 4 in float32.
"""

import pytest
import torch
import transformers
from tiny_speech import D_VOCAB, make_vocab, wrap

SMALL = {
    "vocab_size": D_VOCAB,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "initializer_range": 0.3,
}
GPT2 = {"vocab_size": D_VOCAB, "n_embd": 16, "n_layer": 2, "n_head": 4, "initializer_range": 0.3}
# Norms before; before and after; after alone; what a block adds is multiplied; LayerNorm.
MAKES = {
    "Llama": SMALL,
    "Gemma2": SMALL,
    "Olmo2": SMALL,
    "Granite": SMALL | {"residual_multiplier": 0.22},
    "GPT2": GPT2,
}


def tiny(make, options):
    config = getattr(transformers, f"{make}Config")(**options)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        causal = transformers.AutoModelForCausalLM
        return wrap(causal.from_config(config, attn_implementation="eager").eval(), make_vocab())


@pytest.mark.parametrize("make", MAKES)
def test_both_paths_see_what_is_put_into_the_middle(make):
    from slm_lens.interventions.changing import patched
    from slm_lens.interventions.runs.patched_runs import Patch
    from slm_lens.interventions.site import Site

    model = tiny(make, MAKES[make])
    tokens, value = torch.arange(9)[None], torch.linspace(-2, 2, 16).expand(3, -1)
    patch = Patch(Site("resid_mid", 1), torch.tensor([2, 5, 6]), value)
    with torch.no_grad():
        _, clean = model.run_with_cache(tokens)
        with patched(model, [patch]):
            _, cache = model.run_with_cache(tokens)
    put = [2, 5, 6]
    read = cache["blocks.1.hook_resid_mid"][0]
    skipped = (cache["blocks.1.hook_resid_post"] - cache["blocks.1.hook_mlp_out"])[0]
    assert (read[put] - value).abs().max() < 5e-6
    assert (skipped[put] - value).abs().max() < 5e-6
    others = [0, 1, 3, 4, 7, 8]
    assert torch.equal(read[others], clean["blocks.1.hook_resid_mid"][0, others])


def test_blocks_without_a_middle_are_refused():
    from slm_lens.interventions.ablation.projection import ablated
    from slm_lens.interventions.site import Site

    options = {key: SMALL[key] for key in SMALL if key not in ("num_key_value_heads", "head_dim")}
    model = tiny("GPTNeoX", options)
    with (
        pytest.raises(ValueError, match=r"changed: got a model without blocks\.0\.hook_resid_mid"),
        ablated(model, [Site("resid_mid", 0)], "zero"),
    ):
        pass
