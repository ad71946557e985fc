"""Path patching against its definition in two runs, and against transformer-lens."""

import by_hand
import pytest
import torch
from by_hand import activation, adding, moved_difference, putting
from tiny_pairs import (
    ANSWER,
    FOIL,
    gpt2_bridge,
    gqa_model,
    granite_bridge,
    opt_bridge,
    unequal_pair,
    whole_pair,
    written_out_model,
)


@pytest.fixture(scope="module")
def model():
    return gqa_model()


def send(model, pairs, paths, **options):
    from slm_lens.interventions.attribution.path_patching import patch_paths
    from slm_lens.interventions.metrics import logit_difference

    return patch_paths(model, pairs, logit_difference(), paths, **options)


def graph_parts():
    from slm_lens.interventions.attribution.graph import StreamReader, StreamWriter

    return StreamWriter, StreamReader


def measure(model, tokens, hooks=()):
    return by_hand.logit_difference(model, tokens, hooks, answer=ANSWER, foil=FOIL)


def writes(writer):
    if writer.kind == "embed":
        return "blocks.0.hook_resid_pre"  # with learned positions, where there are such
    return f"blocks.{writer.layer}." + ("attn.hook_z" if writer.kind == "head" else "hook_mlp_out")


def reads(reader):
    return f"blocks.{reader.layer}." + (
        "hook_mlp_out" if reader.kind == "mlp" else f"attn.hook_{reader.kind}"
    )


def in_two_runs(model, pair, senders, receivers):
    """Wang et al.: freeze all heads and MLPs but the senders, note the receivers, put them in."""
    tokens, n_layers = pair.corrupted.tokens, model.cfg.n_layers
    hooks = []
    for layer in range(n_layers):
        for name in (f"blocks.{layer}.attn.hook_z", f"blocks.{layer}.hook_mlp_out"):
            hooks.append(putting(name, activation(model, tokens, name)))
    for sender in senders:
        change = moved_difference(model, pair, writes(sender))
        if sender.kind == "head":
            change[:, [h for h in range(change.shape[1]) if h != sender.head]] = 0
        hooks.append(adding(writes(sender), change))
    if [receiver.kind for receiver in receivers] == ["logits"]:
        return measure(model, tokens, hooks) - measure(model, tokens)
    given = []
    for receiver in receivers:
        name = reads(receiver)
        # What an MLP makes of its input is noted before it is frozen.
        own = [h for h in hooks if h[0] != name or h[1].__name__ == "added"]
        given.append(putting_head(name, activation(model, tokens, name, own), receiver.head))
    return measure(model, tokens, given) - measure(model, tokens)


def putting_head(name, value, head):
    if head is None:
        return putting(name, value)

    def hook(whole, hook):  # noqa: ARG001 (given by name)
        changed = whole.clone()
        changed[0, :, head] = value[:, head]
        return changed

    return name, hook


def all_paths():
    Writer, Reader = graph_parts()
    heads = [Writer("head", 0, 1), Writer("head", 0, 3)]
    return [
        ([Writer("embed")], [Reader("q", 1, 2)]),
        ([heads[0]], [Reader("k", 1, 1)]),
        ([heads[0]], [Reader("v", 2, 0)]),
        (heads, [Reader("q", 1, 0), Reader("q", 1, 3), Reader("v", 2, 1)]),
        ([Writer("mlp", 0), *heads], [Reader("mlp", 2), Reader("k", 2, 0)]),
        ([Writer("head", 1, 2)], [Reader("mlp", 1)]),
        (
            [Writer("mlp", 1), Writer("head", 2, 0), Writer("embed")],
            [Reader("logits", 3)],
        ),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("pair", [whole_pair(), unequal_pair()], ids=lambda pair: pair.name)
@pytest.mark.parametrize("make", [gqa_model, granite_bridge, opt_bridge])
def test_paths_are_those_of_the_definition(make, pair):
    model = make()
    found = send(model, [pair], all_paths())
    for (senders, receivers), effect in zip(found.paths, found.effects[0].tolist(), strict=True):
        expected = in_two_runs(model, pair, senders, receivers)
        assert effect == pytest.approx(expected, abs=2e-5), (senders, receivers)
    assert found.effects.abs().min() > 1e-4


def test_noising_sends_the_other_way(model):
    from slm_lens.interventions.pairs.run_pair import RunPair

    pair = whole_pair()
    turned = RunPair("turned", pair.corrupted, pair.clean, pair.answer, pair.foil, pair.matches)
    noising = send(model, [pair], all_paths(), direction="noising")
    torch.testing.assert_close(noising.effects, send(model, [turned], all_paths()).effects)
    assert noising.target.item() == pytest.approx(measure(model, pair.clean.tokens), abs=1e-5)


@pytest.mark.parametrize("make", [written_out_model, gpt2_bridge])
@pytest.mark.parametrize("kind", ["q", "k", "v"])
def test_direct_paths_are_those_of_transformer_lens(make, kind):
    from transformer_lens import patching

    Writer, Reader = graph_parts()
    model, pair = make(), whole_pair()
    _, clean = model.run_with_cache(pair.clean.tokens[None])
    _, corrupted = model.run_with_cache(pair.corrupted.tokens[None])
    expected = patching.get_act_patch_direct_path(
        model,
        pair.corrupted.tokens[None],
        clean,
        corrupted,
        lambda logits: logits[0, -1, ANSWER] - logits[0, -1, FOIL],
        src_layer=0,
        src_head=2,
        component=kind,
        verbose=False,
    )
    receivers = [(layer, head) for layer in (1, 2) for head in range(4)]
    found = send(
        model,
        [pair],
        [([Writer("head", 0, 2)], [Reader(kind, *where)]) for where in receivers],
    )
    got = found.effects[0] + found.target[0]
    torch.testing.assert_close(got, expected[1:].flatten(), atol=1e-5, rtol=1e-4)


def test_the_table_has_the_share_of_the_difference(model):
    pairs = [whole_pair(), unequal_pair()]
    found = send(model, pairs, all_paths())
    frame = found.to_frame()
    assert len(frame) == 2 * 7
    gap = measure(model, pairs[0].clean.tokens) - measure(model, pairs[0].corrupted.tokens)
    row = frame.row(3, named=True)
    assert (row["senders"], row["receivers"]) == ("L0H1, L0H3", "L1H0 q, L1H3 q, L2G1 v")
    assert row["share"] == pytest.approx(row["effect"] / gap, rel=1e-4)


def test_without_a_difference_nothing_is_sent(model):
    from slm_lens.interventions.pairs.run_pair import RunPair

    pair = whole_pair()
    same = RunPair("same", pair.clean, pair.clean, pair.answer, pair.foil, pair.matches)
    found = send(model, [same], all_paths())
    assert found.effects.abs().max() < 1e-6
    assert found.to_frame()["share"].null_count() == 7


def test_paths_that_lead_nowhere_are_refused(model):
    Writer, Reader = graph_parts()
    pair, sender = whole_pair(), Writer("head", 1, 0)
    with pytest.raises(ValueError, match="patch_paths: got no path"):
        send(model, [pair], [])
    for receivers in (
        [Reader("q", 1, 0)],
        [Reader("mlp", 1), Reader("v", 0, 0)],
        [],
    ):
        with pytest.raises(ValueError, match=r"none of them reaches"):
            send(model, [pair], [([sender], receivers)])
    with pytest.raises(ValueError, match=r"none of them reaches"):
        send(model, [pair], [([], [Reader("logits", 3)])])
    with pytest.raises(
        ValueError, match=r"got the edge L1H0 -> L2G2 k, expected one of .* by group"
    ):
        send(model, [pair], [([sender], [Reader("k", 2, 2)])])
    with pytest.raises(ValueError, match="got the edge L1H9 -> L2G0 k"):
        send(model, [pair], [([Writer("head", 1, 9)], [Reader("k", 2, 0)])])


def test_senders_and_receivers_that_stand_twice_are_refused(model):
    Writer, Reader = graph_parts()
    sender, receiver = Writer("head", 1, 0), Reader("logits", 3)
    with pytest.raises(ValueError, match=r"got a path with the senders \['L1H0'\] more than once"):
        send(model, [whole_pair()], [([sender] * 2, [receiver])])
    with pytest.raises(ValueError, match=r"got a path with the receivers \['logits'\] more than"):
        send(model, [whole_pair()], [([sender], [receiver] * 2)])


def test_a_reader_that_is_no_projection_is_refused(model):
    """A hook that scales what the queries' projection gives."""
    Writer, Reader = graph_parts()

    def scaled(value, hook):  # noqa: ARG001 (given by name)
        return 2 * value

    with (
        model.hooks(fwd_hooks=[("blocks.1.attn.hook_q", scaled)]),
        pytest.raises(ValueError, match=r"L1H0 q makes of its own input what is off by"),
    ):
        send(model, [whole_pair()], [([Writer("embed")], [Reader("q", 1, 0)])])
