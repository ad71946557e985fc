"""Which forward pass gives the residual stream, and that the fast one sees every change."""

import copy

import pytest
import torch
from tiny_speech import make_hf_model, make_vocab, wrap

import slm_lens
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.states import choose_forward, residual_stack, stack_and_check
from slm_lens.model.plain_forward import PlainForward
from slm_lens.phases.random_weights import random_weights

TOKENS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6], [5, 3, 5, 8, 9, 7, 9, 3]])


@pytest.fixture
def own():
    return wrap(make_hf_model(), make_vocab())


def eager(hf):
    """As `load` gives it to the bridge."""
    hf.set_attn_implementation("eager")
    return hf.eval()


def states_of(hf, tokens=TOKENS):
    """The plain model's hidden states with SDPA, the last one before its final norm."""
    hf = copy.deepcopy(hf)
    hf.set_attn_implementation("sdpa")
    last = []
    hf.model.layers[-1].register_forward_hook(lambda _m, _a, out: last.append(out))
    with torch.no_grad():
        hidden = hf(tokens, output_hidden_states=True).hidden_states
    return torch.stack([*hidden[:-1], last[0]])


def fast(model):
    return residual_stack(model, TOKENS, forward="fast")


def agrees(model):
    """The fast states are those of the hooked run, to rounding, and "auto" is fast."""
    close = (fast(model).double() - residual_stack(model, TOKENS, forward="hooked")).abs().max()
    assert torch.equal(residual_stack(model, TOKENS), fast(model))
    return close < (0.5 if model.W_U.dtype == torch.bfloat16 else 1e-4)  # states up to 20


def test_the_fast_states_are_the_plain_models(own):
    assert torch.equal(fast(own), states_of(make_hf_model()))
    assert torch.equal(fast(own), fast(own))


def test_the_last_layer_is_checked_once_for_the_same_weights(own):
    unembedded = []
    head = own.plain_forward._shell.get_output_embeddings()
    head.register_forward_hook(lambda _m, args, _out: unembedded.append(args[0].shape[1]))
    first = fast(own)
    assert torch.equal(fast(own), first)
    assert unembedded == [4, 0]
    with torch.no_grad():
        own.W_U.mul_(2)
    fast(own)
    fast(own)
    assert unembedded == [4, 0, 4, 0]


def test_hooks_that_a_run_leaves_behind_only_look_on(own):
    own.run_with_cache(TOKENS, output_attentions=True)  # transformers and the blocks hook parts
    assert any(m._forward_hooks for m in own.original_model.modules())
    assert agrees(own)


@pytest.mark.parametrize("forward", ["fast", "hooked"])
def test_the_last_layer_alone_is_the_last_one_of_the_stack(own, forward):
    lens = LogitLens(own)
    last = stack_and_check(own, lens, TOKENS, None, forward=forward, last_only=True)
    assert last.shape == (1, *TOKENS.shape, 16)
    assert torch.equal(last[0], residual_stack(own, TOKENS, forward=forward)[-1])
    blocks = own.plain_forward._blocks
    assert blocks is not None
    assert not blocks[-1]._forward_hooks


@pytest.mark.usefixtures("untyped")
def test_an_unknown_choice_is_refused(model):
    with pytest.raises(ValueError, match=r"got forward='slow', expected 'auto', 'fast' or 'hoo"):
        choose_forward(model, "slow", "residual_stack")  # pyright: ignore[reportArgumentType]


class TestEdits:
    """Whatever is done to the weights of the bridge, the plain model has them."""

    def test_in_place(self, own):
        before = fast(own)
        with torch.no_grad():
            own.blocks[1].attn.q.weight.mul_(2)
            own.embed.weight[3] += 1
        hf = make_hf_model()
        with torch.no_grad():
            hf.model.layers[1].self_attn.q_proj.weight.mul_(2)
            hf.model.embed_tokens.weight[3] += 1
        assert torch.equal(fast(own), states_of(hf))
        assert not torch.equal(fast(own), before)
        assert agrees(own)

    def test_data_and_parameters_replaced(self, own):
        before = fast(own)
        own.blocks[0].mlp.out.weight.data = own.blocks[0].mlp.out.weight.data * 3
        after_data = fast(own)
        assert not torch.equal(after_data, before)
        layer = own.original_model.model.layers[2].mlp.down_proj
        inner = layer.original_component
        inner.weight = torch.nn.Parameter(inner.weight.detach() * 3)
        assert not torch.equal(fast(own), after_data)
        assert agrees(own)

    def test_state_dicts(self, own):
        other = wrap(make_hf_model(seed=1), make_vocab())
        own.load_state_dict(other.state_dict())
        assert torch.equal(fast(own), states_of(make_hf_model(seed=1)))

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
    def test_dtypes(self, own, dtype):
        fast(own)
        own.to(dtype)
        assert fast(own).dtype == dtype
        assert torch.equal(fast(own), states_of(make_hf_model().to(dtype)))
        assert agrees(own)

    def test_the_bias_of_the_unembedding(self, own):
        own.unembed.original_component.bias += 3
        assert agrees(own)

    def test_random_weights_and_copies(self, own):
        twin = random_weights(own, seed=2)
        before, random = fast(own), fast(twin)
        with torch.no_grad():
            twin.blocks[0].mlp.out.weight.zero_()
        assert torch.equal(fast(own), before)
        assert not torch.equal(fast(twin), random)
        assert agrees(twin)
        assert agrees(copy.deepcopy(own))


class TestReasons:
    """What the plain model would not show goes through the bridge, and is refused by name."""

    def refused(self, model, reason):
        with pytest.raises(ValueError, match=rf"residual_stack: got forward='fast' .*{reason}"):
            fast(model)
        hooked = residual_stack(model, TOKENS, forward="hooked")
        assert torch.equal(residual_stack(model, TOKENS), hooked)
        return hooked

    @pytest.mark.parametrize("name", ["blocks.1.hook_resid_post", "blocks.0.attn.hook_z"])
    @pytest.mark.parametrize("kind", ["temporary", "permanent", "context"])
    def test_hooks(self, own, name, kind):
        def double(activation, hook):  # noqa: ARG001 (TransformerLens passes it by name)
            return 2 * activation

        plain = residual_stack(own, TOKENS, forward="hooked")
        reason = r"there is a hook on 'model\.layers\..*Undo it. Or pass forward='hooked'"
        if kind == "context":
            with own.hooks(fwd_hooks=[(name, double)]):
                changed = self.refused(own, reason)
        else:
            own.add_hook(name, double, is_permanent=kind == "permanent")
            changed = self.refused(own, reason)
            own.reset_hooks(including_permanent=True)
        assert not torch.equal(changed, plain)
        assert agrees(own)

    def test_torch_hooks_and_patched_methods(self, own):
        mlp = own.blocks[0].mlp
        handle = mlp.register_forward_hook(lambda _m, _a, out: 2 * out)
        self.refused(own, "there is a hook on 'model.layers.0.mlp'")
        handle.remove()
        assert agrees(own)
        vars(mlp)["forward"] = lambda *_args, **_kwargs: torch.zeros(2, 8, 16)
        self.refused(own, "there is a hook on 'model.layers.0.mlp'")
        del vars(mlp)["forward"]
        assert agrees(own)

    def test_modules_that_were_replaced(self, own):
        linear = torch.nn.Linear(16, 32, bias=False)
        own.blocks[0].mlp.gate.set_original_component(linear)
        self.refused(own, "modules of it were replaced")

    @pytest.mark.parametrize("no_processing", [True, False])
    def test_compatibility_mode(self, own, no_processing):
        own.enable_compatibility_mode(disable_warnings=True, no_processing=no_processing)
        self.refused(own, "it is in compatibility mode. Load it without")

    def test_a_bridge_without_a_plain_model(self, own):
        del own.plain_forward
        self.refused(own, r"a bridge that slm_lens\.load did not make")

    def test_several_devices(self):
        from accelerate.hooks import ModelHook, add_hook_to_module

        hf = make_hf_model()
        add_hook_to_module(hf.model.layers[0], ModelHook())
        self.refused(wrap(hf, make_vocab()), "it is shared out over several devices")

    def test_rotary_embeddings_that_keep_a_state(self):
        hf = make_hf_model()
        hf.model.rotary_emb.rope_type = "dynamic"
        self.refused(wrap(hf, make_vocab()), r"its rotary embedding changes from run to run")

    @pytest.mark.parametrize(
        ("n_layers", "reason"),
        [
            (2, "its blocks are not found in the plain model"),
            (4, r"its bridge does not keep the weights \['model.layers.3"),
        ],
    )
    def test_a_plain_model_that_is_another_one(self, own, n_layers, reason):
        own.plain_forward = PlainForward(make_hf_model(n_layers=n_layers))
        own.plain_forward.bind(own)
        self.refused(own, reason)

    def test_fused_weights_that_the_bridge_copies(self):
        from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

        config = GPTNeoXConfig(
            vocab_size=72,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
        )
        model = wrap(eager(GPTNeoXForCausalLM(config)), make_vocab())
        self.refused(model, "split fused weights into tensors of their own")


def test_a_kernel_that_cannot_cap_scores_is_not_used():
    from transformers import Gemma2Config, Gemma2ForCausalLM

    config = Gemma2Config(
        vocab_size=72,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=4,
        attn_logit_softcapping=0.5,
    )
    model = wrap(eager(Gemma2ForCausalLM(config)), make_vocab())
    assert model.plain_forward.attention == "eager"
    assert agrees(model)


class TestSideEffects:
    def test_the_plain_model_holds_no_tensor_and_is_no_part_of_the_bridge(self, own):
        fast(own)
        with pytest.raises(IndexError):
            residual_stack(own, torch.tensor([[10_000]]), forward="fast")
        shell = own.plain_forward._shell
        assert not list(shell.parameters())
        assert not list(shell.buffers())
        assert not any(m is shell for m in own.modules())
        assert not any("plain" in name for name in own.state_dict())
        names = {n for n, _ in own.named_parameters()}
        assert len(names) == len({n for n, _ in make_hf_model().named_parameters()})

    def test_a_model_in_memory_is_left_as_it_is(self):
        hf = make_hf_model()
        before = {n: (id(p), p.detach().clone()) for n, p in hf.named_parameters()}
        kinds = [type(m) for m in hf.modules()]
        spec = slm_lens.VocabSpec(
            streams={"units": slm_lens.StreamSpec(offset=0, count=72)}, has_text=False
        )
        model = slm_lens.load(hf, vocab_spec=spec)
        assert torch.equal(fast(model), states_of(hf))
        assert hf.config._attn_implementation == "eager"
        assert [type(m) for m in hf.modules()] == kinds
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in hf.modules())
        for name, parameter in hf.named_parameters():
            assert id(parameter) == before[name][0]
            assert torch.equal(parameter, before[name][1])

    def test_gradients_still_go_through_the_bridge(self, own):
        assert not fast(own).requires_grad
        own(TOKENS).sum().backward()
        assert own.blocks[0].mlp.out.weight.grad.abs().max() > 0
        assert agrees(own)
