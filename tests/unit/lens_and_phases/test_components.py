"""Single components, by hand from Hugging Face activations and by TransformerLens' functions."""

from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
import transformers
from tiny_speech import D_VOCAB, make_hf_model, make_vocab, wrap

from slm_lens.lens.components import ComponentKind, component_stack
from slm_lens.lens.logit_lens import LogitLens

TOKENS = torch.tensor([[3, 1, 4, 1, 5, 9, 2], [6, 5, 3, 5, 8, 9, 7]])
# Logits reach 20 in float32; no difference from the sums in another order was above 5e-6.
ROUNDING = 5e-5
SIZES: dict[str, Any] = {
    "vocab_size": D_VOCAB,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}


def random_model(config):
    """A model whose every gain and bias is far from 1 and 0."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
        for name, parameter in model.named_parameters():
            spread = (0.5, 2.0) if "norm" in name and "bias" not in name else (-0.5, 0.5)
            parameter.data.uniform_(*spread)
    return model.eval()


def opt():
    config = transformers.OPTConfig(
        **SIZES, ffn_dim=32, word_embed_proj_dim=16, pad_token_id=1, do_layer_norm_before=True
    )
    return random_model(config)


def gemma():
    config = transformers.Gemma2Config(
        **SIZES, intermediate_size=32, num_key_value_heads=2, head_dim=4, pad_token_id=0
    )
    config.final_logit_softcapping = 5.0
    return random_model(config)


def granite():
    config = transformers.GraniteConfig(
        **SIZES,
        intermediate_size=32,
        num_key_value_heads=2,
        embedding_multiplier=3.0,
        residual_multiplier=0.5,
        logits_scaling=4.0,
    )
    return random_model(config)


def neox():
    return random_model(transformers.GPTNeoXConfig(**SIZES, intermediate_size=32))


@pytest.fixture
def untyped():
    """Without the type checks of the tests, which users do not have."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def inputs_and_outputs(hf, modules):
    """Input and output of modules in one run of a Hugging Face model, float64 [batch, pos, ...]."""
    seen = {}

    def keep(name):
        def hook(module, args, output):  # noqa: ARG001
            first = output[0] if isinstance(output, tuple) else output
            given = args[0] if args else first
            seen[name] = [x.detach().double().numpy() for x in (given, first)]

        return hook

    handles = [m.register_forward_hook(keep(name)) for name, m in modules.items()]
    with torch.no_grad():
        hf(TOKENS)
    for handle in handles:
        handle.remove()
    return seen


def array(parameter):
    return parameter.detach().double().numpy()


def head_logits_by_hand(z, out, final, last, unembedding, *, centred, n_heads=4):
    """Logits of each head of a layer: a slice of z through its columns, and the frozen norm."""
    width = z.shape[-1] // n_heads
    logits = []
    for h in range(n_heads):
        columns = slice(h * width, (h + 1) * width)
        head = z[..., columns] @ array(out.weight)[:, columns].T
        if centred:
            head = head - head.mean(-1, keepdims=True)
            last = last - last.mean(-1, keepdims=True)
        eps = final.eps if centred else final.variance_epsilon
        scale = np.sqrt((last**2).mean(-1, keepdims=True) + eps)
        logits.append((head / scale * array(final.weight)) @ array(unembedding.weight).T)
    return np.stack(logits)


def test_heads_of_grouped_queries_and_rms_norm_by_hand():
    hf = make_hf_model()
    layer = hf.model.layers[1].self_attn.o_proj
    seen = inputs_and_outputs(hf, {"out": layer, "final": hf.model.norm})
    expected = head_logits_by_hand(
        seen["out"][0], layer, hf.model.norm, seen["final"][0], hf.lm_head, centred=False
    )
    model = wrap(make_hf_model(), make_vocab())
    logits = component_stack(model, TOKENS, "heads", layers=[1]).logits()
    assert np.abs(logits.numpy() - expected).max() < ROUNDING
    assert np.abs(expected).max() > 1


def test_heads_and_mlp_of_biases_and_layer_norm_by_hand():
    hf = opt()
    decoder = hf.model.decoder
    layer, final = decoder.layers[0], decoder.final_layer_norm
    seen = inputs_and_outputs(
        hf, {"out": layer.self_attn.out_proj, "mlp": layer.fc2, "final": final}
    )
    last = seen["final"][0]
    heads = head_logits_by_hand(
        seen["out"][0], layer.self_attn.out_proj, final, last, hf.lm_head, centred=True
    )
    mlp = seen["mlp"][1].reshape(last.shape)
    mlp = (mlp - mlp.mean(-1, keepdims=True)) / np.sqrt(last.var(-1, keepdims=True) + final.eps)
    mlp = mlp * array(final.weight) @ array(hf.lm_head.weight).T
    offset = array(final.bias) @ array(hf.lm_head.weight).T

    model = wrap(opt(), make_vocab())
    logits = component_stack(model, TOKENS, "heads", layers=[0]).logits().numpy()
    assert np.abs(logits - heads).max() < ROUNDING
    stack = component_stack(model, TOKENS, "mlp_out")
    assert np.abs(stack.logits()[0].numpy() - mlp).max() < ROUNDING
    assert np.abs(stack.bias_logits().numpy() - offset).max() < ROUNDING
    assert np.abs(offset).max() > 0.5


@pytest.mark.parametrize("make", [make_hf_model, opt])
def test_vectors_and_labels_are_those_of_transformer_lens(make):
    model = wrap(make(), make_vocab())
    with torch.no_grad():
        _, cache = model.run_with_cache(TOKENS)
    n_layers = model.cfg.n_layers
    states: dict[ComponentKind, Any] = {
        "accumulated": cache.accumulated_resid(incl_mid=True, return_labels=True),
        "resid_pre": cache.accumulated_resid(layer=n_layers - 1, return_labels=True),
        "attn_out": cache.decompose_resid(mode="attn", incl_embeds=False, return_labels=True),
        "mlp_out": cache.decompose_resid(mode="mlp", incl_embeds=False, return_labels=True),
        "decomposed": cache.decompose_resid(return_labels=True),
        "heads": cache.stack_head_results(return_labels=True),
        "resid_mid": (cache.stack_activation("resid_mid"), [f"{i}_mid" for i in range(n_layers)]),
        "resid_post": (
            cache.stack_activation("resid_post"),
            [f"{i}_post" for i in range(n_layers)],
        ),
    }
    for kind, (vectors, labels) in states.items():
        stack = component_stack(model, TOKENS, kind)
        assert stack.labels == tuple(labels)
        # A single product instead of one for each head: 1e-6 at most.
        assert (stack.states - vectors).abs().max() < (ROUNDING if kind == "heads" else 1e-12)


def test_a_folded_norm_is_read_as_transformer_lens_reads_it():
    model = wrap(make_hf_model(), make_vocab())
    model.enable_compatibility_mode(disable_warnings=True)
    with torch.no_grad():
        _, cache = model.run_with_cache(TOKENS)
    expected = cache.apply_ln_to_stack(cache.decompose_resid())
    assert (component_stack(model, TOKENS, "decomposed").normed() - expected).abs().max() < ROUNDING


@pytest.mark.parametrize("make", [make_hf_model, opt, gemma])
@pytest.mark.parametrize("kind", ["resid_pre", "resid_mid", "resid_post", "accumulated"])
def test_residual_states_are_read_as_the_logit_lens_does(make, kind):
    model = wrap(make(), make_vocab())
    transform = model.adapter.apply_output_logits_transform
    stack = component_stack(model, TOKENS, kind)
    assert not stack.additive
    read = transform(stack.logits() + stack.bias_logits())
    assert torch.equal(read, LogitLens(model)(stack.states))
    if kind in ("resid_post", "accumulated"):
        with torch.no_grad():
            assert (read[-1] - model(TOKENS)).abs().max() < ROUNDING


@pytest.mark.parametrize("make", [make_hf_model, opt, gemma])
@pytest.mark.parametrize("kind", ["accumulated", "decomposed"])
def test_readouts_are_those_of_all_logits(make, kind):
    model = wrap(make(), make_vocab())
    stack = component_stack(model, TOKENS, kind)
    logits = stack.logits()
    if not stack.additive:
        logits = model.adapter.apply_output_logits_transform(logits + stack.bias_logits())
    read = stack.readout("rank", "top_k", "mass", targets=torch.tensor([3, 9]), k=4)
    units = torch.tensor(list(model.vocab.streams["units"]))
    best = logits[..., [3, 9], None]
    assert read.rank["full"].equal(1 + (logits[..., None, :] > best).sum(-1))
    assert read.top_k["speech"].ids.equal(units[logits[..., units].topk(4).indices])
    mass = logits.softmax(-1)[..., units].sum(-1)
    assert torch.allclose(read.mass["units"], mass, atol=1e-5)


@pytest.mark.parametrize("make", [gemma, granite, neox, opt])
def test_the_sum_is_what_stands_before_a_transform_of_the_logits(make):
    model = wrap(make(), make_vocab())
    stack = component_stack(model, TOKENS, "decomposed")
    before = stack.logits().sum(0) + stack.bias_logits()
    with torch.no_grad():
        logits = model(TOKENS)
    assert (model.adapter.apply_output_logits_transform(before) - logits).abs().max() < ROUNDING
    assert ((before - logits).abs().max() > 0.1) == (make in (gemma, granite))


def test_heads_with_a_multiplier_of_the_residual():
    model = wrap(granite(), make_vocab())
    heads = component_stack(model, TOKENS, "heads", layers=[1]).states
    outputs = component_stack(model, TOKENS, "attn_out", layers=[1]).states
    assert (heads.sum(0) - outputs[0]).abs().max() < ROUNDING


def test_heads_behind_a_norm_of_the_attention_are_refused():
    model = wrap(gemma(), make_vocab())
    assert component_stack(model, TOKENS, "attn_out").labels == ("0_attn_out", "1_attn_out")
    with pytest.raises(ValueError, match=r"heads of layer 0 differ .*take kind='attn_out'"):
        component_stack(model, TOKENS, "heads")


def test_a_block_without_a_middle_is_refused():
    model = wrap(neox(), make_vocab())
    with pytest.raises(ValueError, match=r"without blocks.0.hook_resid_mid, .*have no `resid_mid`"):
        component_stack(model, TOKENS, "resid_mid")


@pytest.mark.parametrize("kind", ["resid_mid", "accumulated", "decomposed", "heads"])
def test_positions_and_layers_select_from_the_whole(model, kind):
    whole = component_stack(model, TOKENS, kind)
    some = component_stack(model, TOKENS, kind, positions=torch.tensor([5, 2]), layers=[2, 0])
    assert some.positions.tolist() == [5, 2]
    of = {"L2": 0, "2_": 0, "L0": 1, "0_": 1}
    wanted = sorted((of[x[:2]], i) for i, x in enumerate(whole.labels) if x[:2] in of)
    assert some.labels == tuple(whole.labels[i] for _, i in wanted)
    rows = [i for _, i in wanted]
    assert (some.normed() - whole.normed()[rows][:, :, [5, 2]]).abs().max() < 1e-6


@pytest.mark.parametrize("kind", ["resid_mid", "heads"])
def test_a_padded_batch_gives_the_components_of_each_row(model, kind):
    mask = torch.ones_like(TOKENS, dtype=torch.bool)
    mask[1, 4:] = False
    batch = component_stack(model, TOKENS, kind, attention_mask=mask).normed()
    alone = component_stack(model, TOKENS[1:, :4], kind).normed()
    assert (batch[:, 1:, :4] - alone).abs().max() < ROUNDING


@pytest.mark.parametrize(("dtype", "off"), [(torch.float16, 5e-3), (torch.bfloat16, 5e-2)])
def test_half_precision_adds_up_to_its_rounding(dtype, off):
    model = wrap(make_hf_model().to(dtype), make_vocab())
    stack = component_stack(model, TOKENS, "decomposed")
    assert stack.states.dtype == dtype
    assert stack.normed().dtype == torch.float32
    with torch.no_grad():
        logits = model(TOKENS).float()
    assert (stack.logits().sum(0) - logits).abs().max() < off * logits.abs().max()
    assert component_stack(model, TOKENS, "heads").states.dtype == dtype


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "resid"}, "got kind 'resid', expected one of resid_pre, resid_mid"),
        ({"positions": [7]}, r"got positions \[7\], expected .* from 0 to 6"),
        ({"positions": [-1]}, r"got positions \[-1\]"),
        ({"positions": []}, r"got positions \[\], .* at least one index"),
        ({"layers": [3]}, r"got layers \[3\], expected .* from 0 to 2"),
        ({"tokens": TOKENS[:, :0]}, r"shape \(2, 0\) .* at least one"),
        ({"attention_mask": TOKENS != 3}, "padding before real tokens"),
        ({"attention_mask": TOKENS > 0, "positions": [6]}, None),
    ],
)
@pytest.mark.usefixtures("untyped")
def test_input_that_cannot_be_read_is_refused(model, options, message):
    arguments = {"tokens": TOKENS, "kind": "attn_out"} | options
    if message is None:
        assert component_stack(model, **arguments).states.shape == (3, 2, 1, 16)
        return
    with pytest.raises(ValueError, match=message):
        component_stack(model, **arguments)


def test_positions_of_padding_alone_are_refused(model):
    mask = torch.ones_like(TOKENS, dtype=torch.bool)
    mask[:, 5:] = False
    with pytest.raises(ValueError, match=r"got positions \[5, 6\], expected one that is no padd"):
        component_stack(model, TOKENS, "attn_out", attention_mask=mask, positions=[5, 6])


def test_a_stream_that_is_changed_elsewhere_is_refused():
    model = wrap(make_hf_model(), make_vocab())
    model.blocks[1].hook_resid_post.add_perma_hook(lambda value, hook: 2 * value)  # noqa: ARG005
    with pytest.raises(ValueError, match=r"sum of all components reads .* elsewhere than in"):
        component_stack(model, TOKENS, "decomposed")
    assert component_stack(model, TOKENS, "resid_mid").labels == ("0_mid", "1_mid", "2_mid")
    model.unembed.hook_out.add_perma_hook(lambda value, hook: value + 1)  # noqa: ARG005
    with pytest.raises(ValueError, match="last state reads as logits that differ"):
        component_stack(model, TOKENS, "resid_mid")


def test_a_model_in_training_mode_is_refused():
    model = wrap(make_hf_model(), make_vocab()).train()
    with pytest.raises(ValueError, match="got a model in training mode"):
        component_stack(model, TOKENS, "resid_mid")


def test_states_that_are_not_finite_are_refused(model):
    stack = component_stack(model, TOKENS, "resid_mid")
    stack.states[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="states that are not finite"):
        stack.normed()
