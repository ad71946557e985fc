"""The Jacobian lens against finite differences, and against the estimator of transformer-lens."""

import numpy as np
import pytest
import torch
from transformer_lens.tools.analysis import JacobianLens

import slm_lens
from slm_lens import LogitLens, jacobian_lens, lens_divergence, to_transformer_lens
from slm_lens.lens.tuned_lens import TunedLens, load_tuned_lens


@pytest.fixture(scope="module")
def model(tiny_folder):
    return slm_lens.load(tiny_folder.path)


@pytest.fixture(scope="module")
def mixed(model):
    """Speech, then text, then speech; kinds at the ends differ from those in between."""
    units = slm_lens.Units(torch.arange(8), torch.full((8,), 5, dtype=torch.int64), 25.0)
    words = ("the", "zebra", "lives", "in")
    alignment = slm_lens.Alignment(
        tuple(slm_lens.AlignedWord(w, 0.4 * i, 0.4 * i + 0.4) for i, w in enumerate(words))
    )
    return model.sequence_interleaved(units, alignment, spoken=[True, False, False, True])


@pytest.fixture(scope="module")
def written(model):
    texts = ["the zebra lives in the savanna", "in the savanna lives the zebra the zebra"]
    return [model.sequence_from_text(t) for t in texts]


def final_states(model, tokens, layer, change):
    """Last residual stream when the states of a layer are moved, [pos, d_model]."""
    name = f"blocks.{layer - 1}.hook_resid_post" if layer else "blocks.0.hook_resid_pre"
    found = {}

    def move(state, **_):
        return state + change

    def keep(state, **_):
        found["last"] = state

    last = f"blocks.{model.cfg.n_layers - 1}.hook_resid_post"
    with torch.no_grad():
        model.run_with_hooks(tokens[None], fwd_hooks=[(name, move), (last, keep)])
    return found["last"][0].double().numpy()


@pytest.mark.parametrize("positions", ["speech", "text", "all"])
def test_it_is_what_finite_differences_give(model, mixed, positions):
    skip = 2
    lens = jacobian_lens(model, [mixed], positions=positions, skip_first=skip, dim_batch=5)
    n = len(mixed)
    valid = [i for i in range(skip, n - 1) if positions in ("all", mixed.kinds[i])]
    assert 1 < len(valid) < n - skip or positions == "all"
    assert lens.facts.n_positions == len(valid)
    generator = np.random.default_rng(0)
    step = 0.02
    for layer in range(model.cfg.n_layers):
        for column in generator.choice(model.cfg.d_model, 3, replace=False):
            expected = np.zeros(model.cfg.d_model)
            for t in valid:
                change = torch.zeros(n, model.cfg.d_model)
                change[t, column] = step
                ends = [final_states(model, mixed.tokens, layer, s * change) for s in (1, -1)]
                slope = (ends[0] - ends[1]) / (2 * step)
                expected += sum(slope[u] for u in valid if u >= t) / len(valid)
            found = (lens.weight[layer] + torch.eye(model.cfg.d_model))[:, column].numpy()
            # Differences of float32 states over 0.04 are good to 1e-4; curvature adds as much.
            assert np.abs(found - expected).max() < 2e-3 * max(1, np.abs(expected).max())


def test_it_is_what_transformer_lens_gives_for_strings(model, written):
    prompts = [model.to_string(s.tokens) for s in written]
    assert [model.to_tokens(p)[0].tolist() for p in prompts] == [s.tokens.tolist() for s in written]
    theirs = JacobianLens.fit(
        model, prompts, corpus="two sentences", skip_first_positions=1, show_progress=False
    )
    ours = jacobian_lens(model, written, skip_first=1)
    again = to_transformer_lens(ours)
    assert again.source_layers == theirs.source_layers == list(range(model.cfg.n_layers - 1))
    assert again.n_prompts == theirs.n_prompts == 2
    for layer in theirs.source_layers:
        assert torch.allclose(again.jacobians[layer], theirs.jacobians[layer], atol=1e-5)
        state = slm_lens.residual_stack(model, written[0].tokens[None])[layer + 1, 0]
        moved = theirs.transport(state, layer)
        assert torch.allclose(ours(state, layer + 1), LogitLens(model)(moved), atol=1e-4)
    assert again.validate_model(model) is again


def test_it_is_read_compared_and_kept_as_a_tuned_lens(model, mixed, written, tmp_path):
    lens = jacobian_lens(model, [*written, mixed], positions="text", skip_first=1)
    assert lens.facts.n_steps == 3
    assert lens.name.startswith("Jacobian lens (text, ")
    lens.save(tmp_path)
    again = load_tuned_lens(tmp_path, model)
    assert torch.equal(again.weight, lens.weight)
    assert again.facts == lens.facts
    table = lens_divergence(model, {"jacobian": lens}, [mixed])
    last = table.filter(layer=model.cfg.n_layers)["kl_nats"]
    assert last.to_list() == [0.0] * len(last)


def test_sequences_count_the_same_and_those_without_a_position_not(model, mixed, written):
    options = {"positions": "speech", "skip_first": 2}
    one = jacobian_lens(model, [mixed], **options)
    assert torch.equal(jacobian_lens(model, iter([*written, mixed]), **options).weight, one.weight)
    both = jacobian_lens(model, written, skip_first=1)
    one, other = (jacobian_lens(model, [s], skip_first=1).weight for s in written)
    assert torch.allclose(both.weight, (one + other) / 2, atol=1e-6)


def test_the_model_is_left_as_it_was(own_model, written):
    before = {n: (p.clone(), p.requires_grad) for n, p in own_model.named_parameters()}
    jacobian_lens(own_model, written, skip_first=1)
    for name, parameter in own_model.named_parameters():
        assert torch.equal(parameter, before[name][0])
        assert parameter.requires_grad == before[name][1]
        assert parameter.grad is None


def test_refusals(model, own_model, written):
    with pytest.raises(ValueError, match=r"no speech position after the first 16 and before"):
        jacobian_lens(model, written, positions="speech")
    with pytest.raises(ValueError, match=r"skip_first=-1, .* at least 0 and at least 1"):
        jacobian_lens(model, written, skip_first=-1)
    with pytest.raises(ValueError, match=r"dim_batch=0; expected .* at least 0 and at least 1"):
        jacobian_lens(model, written, dim_batch=0)
    with pytest.raises(ValueError, match=r"got a tuned lens .* an affine lens has no Jacobian"):
        to_transformer_lens(TunedLens(model))
    own_model.train()
    with pytest.raises(ValueError, match="training mode"):
        jacobian_lens(own_model, written, skip_first=1)
