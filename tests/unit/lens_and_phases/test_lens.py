import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_speech import D_VOCAB, make_hf_model, make_vocab, wrap

from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.states import residual_stack


@settings(max_examples=10)
@given(seed=st.integers(0, 999))
def test_the_last_layer_reads_as_the_models_logits(model, seed):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(D_VOCAB, (2, 9), generator=generator)
    stack = residual_stack(model, tokens, forward="hooked")
    assert stack.shape == (4, 2, 9, 16)
    with torch.no_grad():
        logits = model(tokens)
    # Same modules on the same numbers: no difference was seen on a CPU.
    assert torch.allclose(LogitLens(model)(stack[-1]), logits, atol=1e-5)
    fast = residual_stack(model, tokens, forward="fast")
    # Another attention kernel: up to 3e-5 with logits up to 20.
    assert torch.allclose(LogitLens(model)(fast[-1]), logits, atol=3e-4)


def test_layer_0_is_the_embedding(model):
    tokens = torch.tensor([[3, 1, 4]])
    assert torch.equal(residual_stack(model, tokens)[0], model.W_E[tokens])


def test_ranks_are_those_of_transformer_lens(model, utterances):
    from transformer_lens.tools.analysis import logit_lens

    tokens = utterances[0].sequence.tokens[None]
    wanted = torch.randint(D_VOCAB, tokens.shape, generator=torch.Generator().manual_seed(0))
    theirs = logit_lens(model, tokens, positions=None, targets=wanted)
    stack = residual_stack(model, tokens)
    targets = wanted[None, ..., None].expand(len(stack), -1, -1, -1)
    ours = LogitLens(model).readout(stack, "rank", "entropy", targets=targets)
    assert len(theirs.labels) == len(stack)
    assert (ours.rank["full"][..., 0] - 1).equal(theirs.rank_trajectory())
    assert torch.allclose(ours.entropy["full"], theirs.readout.entropy, atol=1e-5)


def test_a_padded_batch_gives_the_stack_of_each_row(model, utterances):
    rows = [u.sequence.tokens for u in utterances[:4]]
    tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask = torch.arange(tokens.shape[1]) < torch.tensor([[len(r)] for r in rows])
    batch = residual_stack(model, tokens, mask)
    assert not mask.all()
    for i, row in enumerate(rows):
        alone = residual_stack(model, row[None])[:, 0]
        # Largest difference seen: 2e-6, with states up to 10.
        assert torch.allclose(batch[:, i, : len(row)], alone, atol=1e-4)


def test_a_model_whose_readout_is_something_else_is_refused():
    model = wrap(make_hf_model(), make_vocab())
    tokens = torch.tensor([[3, 1, 4, 1, 5]])
    scaled = lambda value, hook: 2 * value + 1  # noqa: ARG005, E731 (TransformerLens names them)
    model.blocks[2].hook_resid_post.add_perma_hook(lambda value, hook: None)  # noqa: ARG005
    residual_stack(model, tokens)
    last = model.original_model.model.layers[2]
    handle = last.register_forward_hook(lambda _m, _a, out: out + 1)  # behind the hook of the layer
    with pytest.raises(ValueError, match=r"lens on the last layer differs .* expected at most"):
        residual_stack(model, tokens)
    handle.remove()
    model.unembed.hook_out.add_perma_hook(scaled)
    with pytest.raises(ValueError, match=r"got hooks on .'unembed.hook_out'., expected none"):
        residual_stack(model, tokens)


def test_torch_hooks_behind_the_last_block_are_refused_as_well():
    model = wrap(make_hf_model(), make_vocab())
    lens = LogitLens(model)
    head = model.original_model.get_output_embeddings()
    handle = head.register_forward_pre_hook(lambda _m, args: (3 * args[0],))
    with pytest.raises(ValueError, match=r"got hooks on \['unembed"):
        lens(torch.zeros(2, 16))
    handle.remove()
    lens(torch.zeros(2, 16))


@pytest.mark.parametrize(
    ("tokens", "mask", "message"),
    [
        (torch.zeros(1, 0, dtype=torch.int64), None, r"shape \(1, 0\) .* at least one"),
        (torch.ones(1, 3, dtype=torch.int64), [[False, True, True]], "padding on the right"),
        (torch.ones(1, 3, dtype=torch.int64), [[True, False, True]], "padding on the right"),
    ],
)
def test_input_that_cannot_be_read_is_refused(model, tokens, mask, message):
    with pytest.raises(ValueError, match=message):
        residual_stack(model, tokens, None if mask is None else torch.tensor(mask))


def test_a_model_in_training_mode_is_refused():
    model = wrap(make_hf_model(), make_vocab()).train()
    with pytest.raises(ValueError, match="got a model in training mode"):
        LogitLens(model)


def test_a_stream_that_is_not_finite_is_refused(model):
    with pytest.raises(ValueError, match="residual stream that is not finite"):
        LogitLens(model)(torch.full((2, 16), torch.nan))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_passes_the_check_and_is_read_in_float32(dtype):
    model = wrap(make_hf_model().to(dtype), make_vocab())
    stack = residual_stack(model, torch.tensor([[3, 1, 4, 1, 5]]))
    assert stack.dtype == dtype
    assert LogitLens(model)(stack[1]).dtype == torch.float32


def test_a_stream_of_layers_reads_as_the_stack(model, utterances):
    stack = residual_stack(model, utterances[0].sequence.tokens[None])
    lens = LogitLens(model)
    wanted: tuple = ("rank", "log_prob", "mass", "entropy", "kl", "top_k")
    options: dict = {"targets": torch.tensor([3, 7]), "final": stack[-1], "k": 4}
    whole = lens.readout(stack, *wanted, **options)
    stream = lens.readout((layer for layer in stack), *wanted, **options)
    for name in ("rank", "log_prob", "mass", "entropy", "kl"):
        for subset, expected in getattr(whole, name).items():
            assert torch.allclose(
                getattr(stream, name)[subset], expected, equal_nan=True, atol=1e-6
            )
    assert stream.top_k["text"].ids.equal(whole.top_k["text"].ids)
    assert stream.top_k["full"].logits.shape == (len(stack), *stack.shape[1:3], 4)
    with pytest.raises(ValueError, match=r"readout: got no layer"):
        lens.readout(iter(()), "mass")
