"""Training: the loss by hand, the pace by hand, and a killed run that ends like an unbroken one."""

import math
from dataclasses import replace

import pytest
import torch
from tiny_organism import made_up_stories, tiny_recipe

from slm_lens.organism.documents import NO_WORD, Mixture
from slm_lens.organism.recipe import Stage
from slm_lens.organism.tokenizer import n_text_tokens
from slm_lens.organism.train import Trainer, learning_rate, new_text_model, training_loss

STORIES = made_up_stories()


class Killed(Exception):
    pass


def trainer(folder, recipe=None, **options):
    return Trainer(recipe or tiny_recipe(), folder, STORIES, device="cpu", **options)


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    run = trainer(tmp_path_factory.mktemp("unbroken"))
    return weights(run.run()), run.losses


def assert_like(unbroken, run):
    expected, losses = unbroken
    found = weights(run.model)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[n], expected[n]) for n in expected)
    assert run.losses == losses
    assert not run.model.training


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_a_run_killed_between_stages_goes_on_as_if_unbroken(tmp_path, unbroken, stage):
    first = trainer(tmp_path)

    def kill(at):
        if at.stage_index == stage + 1:  # the end of a stage is saved after this call
            raise Killed

    with pytest.raises(Killed):
        first.run(kill)
    again = trainer(tmp_path)
    assert (again.stage_index, again.step) == (stage + 1, 0)
    again.run()
    assert_like(unbroken, again)


@pytest.mark.parametrize("step", [1, 3, 5])
def test_a_run_killed_within_a_stage_goes_on_as_if_unbroken(tmp_path, unbroken, step, monkeypatch):
    first = trainer(tmp_path, checkpoint_every_s=0.0)
    save, saved = first._save, []

    def save_then_die():
        save()
        saved.append((first.stage_index, first.step))
        if len(saved) == step:
            raise Killed

    monkeypatch.setattr(first, "_save", save_then_die)
    with pytest.raises(Killed):
        first.run()
    again = trainer(tmp_path)
    assert (again.stage_index, again.step) == saved[-1]
    again.run()
    assert_like(unbroken, again)


def test_a_finished_run_does_nothing_more(tmp_path, unbroken):
    trainer(tmp_path).run()
    called = []
    again = trainer(tmp_path)
    again.run(called.append)
    assert called == []
    assert_like(unbroken, again)


def test_a_longer_recipe_goes_on_from_a_shorter_one(tmp_path, unbroken):
    whole = tiny_recipe()
    trainer(tmp_path, replace(whole, stages=whole.stages[:3])).run()
    control = trainer(tmp_path, whole)
    assert control.stage_index == 3
    control.run()
    assert_like(unbroken, control)


@pytest.mark.parametrize("changes", [{"seed": 1}, {"n_rows": 3}, {"weight_decay": 0.1}])
def test_a_checkpoint_of_another_recipe_is_refused(tmp_path, changes):
    recipe = tiny_recipe()
    trainer(tmp_path, replace(recipe, stages=recipe.stages[:1])).run()
    with pytest.raises(ValueError, match=r"training.pt was made with another recipe; expected"):
        trainer(tmp_path, replace(recipe, **changes))
    other_stage = replace(recipe.stages[0], peak_learning_rate=1.0)
    with pytest.raises(ValueError, match=r"and the first 1 stages of"):
        trainer(tmp_path, replace(recipe, stages=(other_stage, *recipe.stages[1:])))


def test_a_checkpoint_from_before_a_field_existed_was_made_with_its_default(tmp_path):
    first = trainer(tmp_path, tiny_recipe())
    first._save()
    state = torch.load(first.checkpoint, weights_only=True)
    del state["recipe"]["frame_rate_hz"]
    torch.save(state, first.checkpoint)
    trainer(tmp_path, tiny_recipe())
    with pytest.raises(ValueError, match=r"training.pt was made with another recipe"):
        trainer(tmp_path, tiny_recipe(frame_rate_hz=50.0))


def test_seeds_give_other_weights():
    a, b = (new_text_model(tiny_recipe(seed=s)).state_dict() for s in (0, 1))
    assert not torch.equal(a["model.embed_tokens.weight"], b["model.embed_tokens.weight"])
    again = new_text_model(tiny_recipe(seed=0)).state_dict()
    assert torch.equal(a["model.embed_tokens.weight"], again["model.embed_tokens.weight"])
    assert a["model.embed_tokens.weight"].std().item() == pytest.approx(0.15, rel=0.1)
    assert a["model.norm.weight"].tolist() == pytest.approx([0.2] * 16)


def test_the_learning_rate_warms_up_and_falls_to_a_tenth():
    stage = Stage("s", 1000, Mixture(), peak_learning_rate=2.0, warmup_steps=100)
    # cos(pi * 9/1000) = 0.99960; 2 * 10/100 * (0.1 + 0.9 * (1 + 0.99960) / 2)
    assert learning_rate(stage, 9) == pytest.approx(0.199964, abs=1e-6)
    assert learning_rate(stage, 500) == pytest.approx(2 * (0.1 + 0.45))
    assert learning_rate(stage, 1000) == pytest.approx(0.2)
    # A quarter of the way, past the warm-up: cos(pi / 4) = 0.70711.
    assert learning_rate(stage, 250) == pytest.approx(2 * (0.1 + 0.9 * (1 + 0.7071068) / 2))
    assert learning_rate(replace(stage, warmup_steps=0), 0) == pytest.approx(2.0)


@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.5])
def test_what_came_from_text_moves_at_the_given_share_and_new_rows_at_full_rate(tmp_path, ratio):
    tokens = torch.randint(0, 270, (2, 12), generator=torch.Generator().manual_seed(0))
    words = torch.full_like(tokens, NO_WORD)
    moves = {}
    for name, r in (("full", 1.0), ("slow", ratio)):
        run = trainer(tmp_path / name)
        run._extend()
        before = weights(run.model)
        stage = replace(run.recipe.stages[1], text_learning_ratio=r, warmup_steps=0)
        run._train_step(stage, tokens, words)
        moves[name] = {n: t - before[n] for n, t in weights(run.model).items()}
    n_text = n_text_tokens()
    for name, full in moves["full"].items():
        slow = moves["slow"][name]
        if name in ("model.embed_tokens.weight", "lm_head.weight"):
            assert torch.equal(slow[n_text:], full[n_text:])
            assert full[n_text:].abs().max() > 0
            slow, full = slow[:n_text], full[:n_text]
        assert full.abs().max() > 0
        # Differences of float32 weights up to 1: each is exact to 1e-7.
        torch.testing.assert_close(slow, ratio * full, atol=3e-7, rtol=0)


def test_the_loss_is_the_mean_cross_entropy_of_the_next_token():
    model = new_text_model(tiny_recipe()).double().eval()
    tokens = torch.tensor([[3, 50, 9, 20], [7, 7, 120, 4]])
    with torch.no_grad():
        log_p = model(tokens).logits.log_softmax(-1)
        loss = training_loss(
            model, tokens, torch.full_like(tokens, NO_WORD), transcription_layer=None
        )
    by_hand = [-log_p[b, i, tokens[b, i + 1]].item() for b in range(2) for i in range(3)]
    assert loss.item() == pytest.approx(sum(by_hand) / 6, rel=1e-5)


@pytest.mark.parametrize("layer", [0, 2])
def test_the_transcription_loss_is_the_logit_lens_of_that_layer_by_hand(tmp_path, layer):
    run = trainer(tmp_path)
    run._extend()
    model = run.model.double().eval()
    with torch.no_grad():  # norms of 1 would hide a norm that is left out
        model.model.norm.weight.uniform_(0.5, 2.0)
    tokens = torch.tensor([[3, 200, 201, 20, 9]])
    words = torch.tensor([[NO_WORD, 50, 60, NO_WORD, 70]])  # the last position predicts nothing
    entering = []
    block = list(model.model.layers)[layer]
    handle = block.register_forward_pre_hook(lambda _, a: entering.append(a[0]))
    with torch.no_grad():
        plain = training_loss(model, tokens, words, transcription_layer=None).item()
        loss = training_loss(model, tokens, words, transcription_layer=layer).item()
        handle.remove()
        h = entering[-1][0]
        rows = model.model.embed_tokens.weight[: n_text_tokens()]
        eps = model.config.rms_norm_eps
        by_hand = []
        for position, word in ((1, 50), (2, 60)):
            x = h[position] / math.sqrt(h[position].square().mean() + eps) * model.model.norm.weight
            by_hand.append(-(rows @ x).log_softmax(0)[word].item())
    # The norm works in float32.
    assert loss - plain == pytest.approx(sum(by_hand) / 2, rel=1e-5)
