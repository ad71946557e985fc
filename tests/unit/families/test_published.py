"""Every published layout, in miniature: recognised, loaded offline, exact, hooked, divided."""

import pytest
import torch
from folders import WRITERS

import slm_lens

LAYOUTS = pytest.mark.parametrize("layout", list(WRITERS))

# Of every block, as TransformerLens names them.
HOOKS = (
    "hook_resid_pre",
    "hook_resid_mid",
    "hook_resid_post",
    "hook_attn_out",
    "hook_mlp_out",
    "attn.hook_q",
    "attn.hook_k",
    "attn.hook_v",
    "attn.hook_z",
    "attn.hook_pattern",
    "attn.hook_attn_scores",
    "ln1.hook_normalized",
    "ln1.hook_scale",
    "ln2.hook_normalized",
    "ln2.hook_scale",
    "mlp.hook_pre",
    "mlp.hook_post",
)


def tokens_of(folder):
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, folder.d_vocab, (2, 12), generator=generator)


@LAYOUTS
def test_the_family_is_recognised(published, loaded, layout):
    family, _ = WRITERS[layout]
    assert loaded(layout).provenance.family == family
    named = slm_lens.load(published(layout).path, family=family, **published(layout).load)
    assert named.provenance.family == family


@LAYOUTS
def test_logits_are_the_references(published, loaded, layout):
    folder, model = published(layout), loaded(layout)
    tokens = tokens_of(folder)
    with torch.no_grad():
        off = (model(tokens) - folder.reference(tokens)).abs().max().item()
    # The converted class orders its sums differently; logits are around 10.
    assert off == 0 if folder.exact else off < 1e-5


@LAYOUTS
def test_the_lens_at_the_last_layer_is_the_models_own_output(published, loaded, layout):
    model = loaded(layout)
    with torch.no_grad():
        logits, cache = model.run_with_cache(tokens_of(published(layout)))
        last = cache["blocks.1.hook_resid_post"]
        assert (model.unembed(model.ln_final(last)) - logits).abs().max() == 0


@LAYOUTS
def test_every_canonical_hook_fires(published, loaded, layout):
    wanted = {f"blocks.{layer}.{hook}" for layer in (0, 1) for hook in HOOKS}
    wanted |= {"hook_embed", "ln_final.hook_normalized", "ln_final.hook_scale"}
    calls = dict.fromkeys(sorted(wanted), 0)

    def counter(name):
        def count(activation, hook):  # noqa: ARG001 (TransformerLens passes it by name)
            calls[name] += 1

        return count

    tokens = tokens_of(published(layout))
    loaded(layout).run_with_hooks(tokens, fwd_hooks=[(name, counter(name)) for name in calls])
    assert set(calls.values()) == {1}, calls


def zero(activation, hook):  # noqa: ARG001 (TransformerLens passes it by name)
    return activation * 0


@LAYOUTS
def test_gradients_reach_the_embedding_and_a_patched_hook_changes_the_output(
    published, loaded, layout
):
    model, tokens = loaded(layout), tokens_of(published(layout))
    before = model(tokens)
    residuals = []

    def keep(residual, hook):  # noqa: ARG001 (TransformerLens passes it by name)
        residual.retain_grad()
        residuals.append(residual)

    logits = model.run_with_hooks(tokens, fwd_hooks=[("blocks.0.hook_resid_pre", keep)])
    logits[0, -1].max().backward()
    (residual,) = residuals
    assert residual.grad[0].abs().max() > 0
    assert residual.grad[1].abs().max() == 0  # the other sequence of the batch
    for name in ("blocks.0.hook_resid_post", "blocks.1.attn.hook_z"):
        patched = model.run_with_hooks(tokens, fwd_hooks=[(name, zero)])
        assert (patched - before).abs().max() > 1e-3
    model.zero_grad()


@LAYOUTS
def test_the_partition_is_exact(published, loaded, layout):
    folder, vocab = published(layout), loaded(layout).vocab
    assert vocab.d_vocab == folder.d_vocab == loaded(layout).cfg.d_vocab
    assert list(vocab.streams) == list(folder.streams)  # in the order of equal times
    assert {k: list(v) for k, v in vocab.streams.items()} == {
        k: list(v) for k, v in folder.streams.items()
    }
    assert dict(vocab.markers) == dict(folder.markers)
    assert dict(vocab.specials) == dict(folder.specials)
    assert tuple(vocab.padding) == folder.padding
    assert len(vocab.text) == folder.n_text
    speech = sum(len(ids) for ids in folder.streams.values())
    counted = speech + len(folder.markers) + len(folder.specials) + len(folder.padding)
    assert counted + folder.n_text == folder.d_vocab


def test_rows_that_the_text_model_had_are_told_from_new_ones(loaded):
    """The base had 10 rows of padding after its tokens, so units 0-9 took them over."""
    assert list(loaded("SIMS, Qwen2 base").vocab.recycled) == list(range(281, 291))
    assert not loaded("SIMS, Llama base").vocab.recycled
    shown = slm_lens.describe_model(loaded("SIMS, Qwen2 base"))["vocabulary"]
    assert any("281-290" in row and "0-9" in row for row in shown.values())


@LAYOUTS
def test_loading_draws_no_random_numbers_and_prints_nothing(published, layout, capfd):
    folder = published(layout)
    before = torch.get_rng_state()
    slm_lens.load(folder.path, **folder.load)
    assert torch.equal(before, torch.get_rng_state())
    assert capfd.readouterr() == ("", "")
