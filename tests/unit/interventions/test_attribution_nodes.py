"""Scores of nodes against transformer-lens, patching by hand and derivatives by differences."""

import by_hand
import pytest
import torch
from by_hand import activation, adding, moved_difference, putting
from tiny_pairs import (
    ANSWER,
    FOIL,
    exact_model,
    gpt2_bridge,
    gqa_model,
    granite_bridge,
    opt_bridge,
    plain_bridge,
    unequal_pair,
    whole_pair,
    written_out_model,
)
from tiny_speech import make_hf_model, make_vocab, wrap

KINDS = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "q", "k", "v", "z")


@pytest.fixture(scope="module")
def model():
    return gqa_model()


@pytest.fixture(scope="module", name="exact_model")
def an_exact_model():
    return exact_model()


def attribute(model, pairs, **options):
    from slm_lens.interventions.attribution.nodes import attribute_nodes
    from slm_lens.interventions.metrics import logit_difference

    return attribute_nodes(model, pairs, logit_difference(), **options)


def measure(model, pair, hooks=()):
    return by_hand.logit_difference(model, pair.corrupted.tokens, hooks, answer=ANSWER, foil=FOIL)


@pytest.mark.parametrize("make", [gqa_model, gpt2_bridge, opt_bridge, granite_bridge])
def test_scores_are_those_of_transformer_lens(make):
    from transformer_lens.tools.analysis import attribution_patching as theirs

    model, pair = make(), whole_pair()
    found = attribute(model, [pair])
    expected = theirs.attribution_patch(
        model,
        pair.clean.tokens[None],
        pair.corrupted.tokens[None],
        lambda logits: logits[0, -1, ANSWER] - logits[0, -1, FOIL],
    ).node_scores
    labels = [site.label for site in found.sites]
    scores = found.summed(0, "positions")
    for node, score in expected.items():
        label = {
            "embed": "L0 resid_pre",
            "attn_head_out": f"L{node.layer}H{node.head} z",
            "mlp_out": f"L{node.layer} mlp_out",
        }[node.kind]
        got = scores[labels.index(label), node.position].item()
        assert got == pytest.approx(score, abs=5e-6)
    assert scores.abs().max() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("pair", [whole_pair(), unequal_pair()], ids=lambda pair: pair.name)
def test_scores_are_derivatives_towards_the_clean_activation(exact_model, pair):
    found = attribute(exact_model, [pair], kinds=KINDS)
    totals = found.summed(0, "all")[:, 0]
    for site, score in zip(found.sites, totals.tolist(), strict=True):
        change = moved_difference(exact_model, pair, site.hook)
        if site.head is not None:
            change[:, [h for h in range(change.shape[1]) if h != site.head]] = 0
        derivative = by_hand.slope(
            lambda size, site=site, change=change: measure(
                exact_model, pair, [adding(site.hook, size * change)]
            )
        )
        assert score == pytest.approx(derivative, abs=1e-4), site.label
    assert totals.abs().max() > 0.1


def test_positions_without_a_match_score_nothing(model):
    from slm_lens.interventions.pairs.run_pair import RunPair

    pair = unequal_pair()
    some = RunPair("some", pair.clean, pair.corrupted, pair.answer, pair.foil, (pair.matches[2],))
    scores = attribute(model, [some], kinds=KINDS).summed(0, "positions")
    assert not scores[:, [0, 1, 2, 7]].any()
    assert scores[:, 3:7].any()


@pytest.mark.slow
def test_what_is_linear_up_to_the_metric_is_exact():
    """No final norm, and nothing that reads the stream behind the nodes: the last MLP writes 0."""
    hf = make_hf_model()
    hf.model.norm = torch.nn.Identity()
    hf.model.layers[2].mlp.down_proj.weight.data.zero_()
    model, pair = wrap(hf, make_vocab()), whole_pair()
    found = attribute(model, [pair], kinds=("resid_mid", "attn_out", "resid_post", "z", "v"))
    before = measure(model, pair)
    seen = 0
    for site, scores in zip(found.sites, found.summed(0, "positions"), strict=True):
        if site.layer < 2:
            continue
        for position in range(7):
            change = torch.zeros_like(moved_difference(model, pair, site.hook))
            where = position if site.head is None else (position, site.head)
            change[where] = moved_difference(model, pair, site.hook)[where]
            patched = measure(model, pair, [adding(site.hook, change)]) - before
            assert scores[position].item() == pytest.approx(patched, abs=2e-4), site.label
            seen += abs(patched) > 1e-2
    assert seen > 10


def test_keys_and_values_of_a_group_are_the_sum_of_their_copies(model):
    from slm_lens.interventions.site import Site

    pair = unequal_pair()
    grouped = attribute(model, [pair], kinds=("q", "k", "v", "z"))
    copies = attribute(written_out_model(), [pair], kinds=("q", "k", "v", "z"))
    ours = dict(zip(grouped.sites, grouped.summed(0, "positions"), strict=True))
    theirs = dict(zip(copies.sites, copies.summed(0, "positions"), strict=True))
    for site, scores in ours.items():
        expected = theirs[site]
        if site.kind in ("k", "v"):
            group = site.head or 0
            heads = (Site(site.kind, site.layer, 2 * group + i) for i in (0, 1))
            expected = sum(theirs[head] for head in heads)
        torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("ends", "parts"), [("corrupted", (0, 0.5)), ("clean", (0.5, 1))])
def test_two_steps_by_hand(exact_model, ends, parts):
    pair, name = whole_pair(), "blocks.0.hook_resid_pre"
    found = attribute(exact_model, [pair], kinds=("resid_pre", "z"), steps=2, ends=ends)
    change = moved_difference(exact_model, pair, name)
    for site in (found.sites[0], found.sites[-1]):
        own = moved_difference(exact_model, pair, site.hook)
        if site.head is not None:
            own[:, : site.head] = 0
        derivatives = [
            by_hand.slope(
                lambda size, part=part, site=site, own=own: measure(
                    exact_model,
                    pair,
                    [adding(name, part * change), adding(site.hook, size * own)],
                )
            )
            for part in parts
        ]
        score = found.summed(0, "all")[found.sites.index(site), 0].item()
        assert score == pytest.approx(sum(derivatives) / 2, abs=5e-4)


@pytest.mark.slow
def test_integrated_gradients_sum_to_the_difference_of_the_metric():
    """Each end errs by 1/m, the other way round: measured 0.017 of -2.47 at 50 steps.

    The mean of both ends is the trapezoidal rule: measured 2e-4.
    """
    model, pair = exact_model(2), whole_pair(seed=4)
    errors = []
    for ends in ("corrupted", "clean"):
        found = attribute(model, [pair], kinds=("resid_pre",), steps=50, ends=ends)
        difference = (found.clean - found.corrupted).item()
        clean = by_hand.logit_difference(model, pair.clean.tokens, answer=ANSWER, foil=FOIL)
        assert difference == pytest.approx(clean - measure(model, pair), abs=1e-6)
        errors.append(found.summed(0, "all")[0, 0].item() - difference)
    assert max(map(abs, errors)) < 3e-2
    assert abs(sum(errors)) / 2 < 1e-3


@pytest.mark.slow
def test_the_qk_fix_is_the_new_pattern_times_its_gradient(model):
    """Everything behind the pattern is linear by definition: patch, read the pattern, multiply."""
    pair = unequal_pair()
    found = attribute(model, [pair], kinds=("q", "k", "v"), qk_fix=True)
    plain = attribute(model, [pair], kinds=("q", "k", "v"))
    scores = found.summed(0, "positions")
    tokens = pair.corrupted.tokens
    slopes = _pattern_slopes(model, pair)
    for row, site in enumerate(found.sites):
        if site.kind == "v":
            torch.testing.assert_close(scores[row], plain.summed(0, "positions")[row])
            continue
        name = f"blocks.{site.layer}.attn.hook_pattern"
        before = activation(model, tokens, name)
        own = moved_difference(model, pair, site.hook)
        for position in range(len(tokens)):
            change = torch.zeros_like(own)
            change[position, site.head] = own[position, site.head]
            after = activation(model, tokens, name, [adding(site.hook, change)])
            expected = ((after - before) * slopes[site.layer]).sum().item()
            assert scores[row, position].item() == pytest.approx(expected, abs=5e-6), site.label
    assert (scores - plain.summed(0, "positions")).abs().max() > 0.1


def _pattern_slopes(model, pair):
    kept = {}

    def keep(layer):
        def hook(value, hook):  # noqa: ARG001 (given by name)
            kept[layer] = value
            value.retain_grad()

        return f"blocks.{layer}.attn.hook_pattern", hook

    with model.hooks(fwd_hooks=[keep(layer) for layer in range(3)]):
        logits = model(pair.corrupted.tokens[None])
    (logits[0, -1, ANSWER] - logits[0, -1, FOIL]).backward()
    model.zero_grad()
    return [kept[layer].grad[0] for layer in range(3)]


def test_a_saturated_pattern_is_turned_round():
    """Scores of 50 and 60 fall to those of the other keys: no gradient, and much of a change."""
    from slm_lens.interventions.attribution.qk_fix import PatternChange

    before = torch.tensor([[[0.0, -torch.inf, -torch.inf], [50, 0, -torch.inf], [0.0, 60, 1]]])
    after = torch.tensor([[[9.0, -torch.inf, -torch.inf], [0.5, 7, -torch.inf], [2.0, 0.3, 70]]])
    slope = torch.tensor([[[5.0, 6, 7], [1, -3, 2], [4, 8, -2]]])
    for kind in ("q", "k"):
        got = PatternChange(kind, "", before, after, 1).scores(slope)[0]
        expected = torch.zeros(3, dtype=torch.float64)
        for key in range(3):
            scores = before[0].double().clone()
            if kind == "q":
                scores[key] = after[0, key].double()
            else:
                scores[:, key] = after[0, :, key].double()
            change = scores.softmax(-1) - before[0].double().softmax(-1)
            expected[key] = (change * slope[0]).sum()
        torch.testing.assert_close(got, expected.float())


def changed_and_frozen(site, change, frozen):
    """What a layer adds is frozen with a change of it; the stream changes all the same."""
    added = adding(site.hook, change)
    return [*frozen, added] if site.kind == "resid_mid" else [added, *frozen]


@pytest.mark.slow
def test_grad_drop_freezes_one_layer_after_the_other(exact_model):
    """A layer that passes no gradient is a layer whose outputs stay as they are."""
    pair = unequal_pair()
    found = attribute(
        exact_model, [pair], kinds=("resid_pre", "q", "mlp_out", "resid_mid"), grad_drop=True
    )
    tokens = pair.corrupted.tokens
    for site in (found.sites[0], *found.sites[3:15:5], *found.sites[-6:]):
        own = moved_difference(exact_model, pair, site.hook)
        own[:3] = own[5:] = 0  # one place of two positions
        if site.head is not None:
            own[:, [h for h in range(own.shape[1]) if h != site.head]] = 0
        sizes = []
        for dropped in range(3):
            names = [f"blocks.{dropped}.hook_{half}" for half in ("attn_out", "mlp_out")]
            frozen = [putting(name, activation(exact_model, tokens, name)) for name in names]
            derivative = by_hand.slope(
                lambda size, site=site, own=own, frozen=frozen: measure(
                    exact_model, pair, changed_and_frozen(site, size * own, frozen)
                )
            )
            sizes.append(abs(derivative))
        row = found.sites.index(site)
        signed = found.scores[0][:, row, 3:5].sum(-1)
        assert signed.abs().tolist() == pytest.approx(sizes, abs=1e-4), site.label
    mean = found.scores[0][:, :, 3:7].sum(-1).abs().sum(0) / 2
    torch.testing.assert_close(found.summed(0, "words")[:, 2], mean)


def test_the_table_of_the_largest_has_what_really_happens(model):
    pairs = [unequal_pair(), whole_pair()]
    found = attribute(model, pairs, kinds=KINDS)
    frame = found.to_frame("words")
    assert len(frame) == len(found.sites) * (4 + 1)
    top = found.top(model, 12, at="words")
    assert top["score"].abs().to_list() == sorted(frame["score"].abs(), reverse=True)[:12]
    by_name = {pair.name: pair for pair in pairs}
    for row in top.iter_rows(named=True):
        pair = by_name[row["pair"]]
        site = next(s for s in found.sites if s.label == row["node"])
        assert (row["kind"], row["layer"], row["head"]) == (site.kind, site.layer, site.head)
        match = next(m for m in pair.matches if m.corrupted[1] - 1 == row["position"])
        own = moved_difference(model, pair, site.hook)
        change = torch.zeros_like(own)
        where = slice(*match.corrupted)
        if site.head is None:
            change[where] = own[where]
        else:
            change[where, site.head] = own[where, site.head]
        expected = measure(model, pair, [adding(site.hook, change)]) - measure(model, pair)
        assert row["verified"] == pytest.approx(expected, abs=1e-5)
        assert (row["label"], row["role"], row["n_pairs"]) == (match.label, match.role, 1)


def test_roles_and_totals_are_means_over_the_pairs_that_have_them(model):
    pairs = [unequal_pair(), whole_pair()]
    found = attribute(model, pairs, kinds=("resid_pre",))
    top = found.top(model, 500, at="roles")
    row = top.filter(node="L0 resid_pre", role="changed").row(0, named=True)
    one, other = found.summed(0, "roles")[0, 2], found.summed(1, "roles")[0, 0]
    assert row["score"] == pytest.approx(((one + other) / 2).item())
    assert (row["n_pairs"], row["pair"]) == (2, None)
    assert top.filter(node="L0 resid_pre", role="end")["n_pairs"].to_list() == [1]
    whole = measure(model, pairs[1], [putting("hook_embed", _embedded(model, pairs[1]))])
    own = moved_difference(model, pairs[0], "hook_embed")
    own[:3] = own[7:] = 0
    part = measure(model, pairs[0], [adding("hook_embed", own)])
    effects = [part - measure(model, pairs[0]), whole - measure(model, pairs[1])]
    assert row["verified"] == pytest.approx(sum(effects) / 2, abs=1e-5)
    total = found.top(model, 500, at="all").filter(node="L0 resid_pre").row(0, named=True)
    assert total["score"] == pytest.approx(
        (found.summed(0, "positions")[0].sum() + found.summed(1, "positions")[0].sum()).item() / 2
    )


def _embedded(model, pair):
    return activation(model, pair.clean.tokens, "hook_embed")


def test_every_metric_with_gradients_is_its_own_derivative(exact_model):
    from slm_lens.interventions.attribution.nodes import attribute_nodes
    from slm_lens.interventions.metrics import divergence, log_prob, modality_mass
    from slm_lens.interventions.metrics import next_unit_log_prob as next_units

    pair, name = whole_pair(), "blocks.1.hook_mlp_out"
    own = moved_difference(exact_model, pair, name)
    speech = exact_model.vocab.mask("speech")
    clean = _log_probs(exact_model, pair.clean.tokens)[-1]
    following = pair.corrupted.tokens[1:]
    expected = {
        log_prob(): lambda p: p[-1, ANSWER],
        log_prob(within="text"): lambda p: p[-1, ANSWER] - p[-1, : 2 * 20 + 4].logsumexp(0),
        modality_mass("speech"): lambda p: p[-1, speech].exp().sum(),
        divergence(): lambda p: (clean.exp() * (clean - p[-1])).sum(),
        next_units(start=2): lambda p: p[range(2, 6), following[2:]].mean(),
    }
    for metric, by_logs in expected.items():
        found = attribute_nodes(exact_model, [pair], metric, kinds=("mlp_out",))
        derivative = by_hand.slope(
            lambda size, by_logs=by_logs: by_logs(
                _log_probs(exact_model, pair.corrupted.tokens, [adding(name, size * own)])
            ).item()
        )
        score = found.summed(0, "all")[1, 0].item()
        assert score == pytest.approx(derivative, abs=1e-4), metric.name


def _log_probs(model, tokens, hooks=()):
    with torch.no_grad(), model.hooks(fwd_hooks=list(hooks)):
        return model(tokens[None])[0].log_softmax(-1)


def test_a_metric_that_compares_no_runs_has_no_clean_value(model):
    from slm_lens.interventions.attribution.nodes import attribute_nodes
    from slm_lens.interventions.metrics import next_unit_log_prob

    found = attribute_nodes(model, [unequal_pair()], next_unit_log_prob())
    assert found.clean.isnan().all()
    assert found.corrupted.isfinite().all()


def test_the_model_is_left_as_it_was(model):
    pair = whole_pair()
    before = measure(model, pair)
    attribute(model, [pair], kinds=KINDS, grad_drop=True, qk_fix=True)
    assert measure(model, pair) == before
    assert not any(point.fwd_hooks or point.bwd_hooks for point in model.hook_dict.values())
    assert all(p.grad is None for p in model.parameters())


def test_the_stream_within_a_block_is_more_than_what_the_mlp_reads():
    """OPT's hook there sees a reshaped copy, past which the stream goes on."""
    model, pair = opt_bridge(), whole_pair()
    found = attribute(model, [pair], kinds=("resid_mid",)).summed(0, "all")[:, 0]
    for layer, score in enumerate(found.tolist()):
        change = moved_difference(model, pair, f"blocks.{layer}.hook_resid_mid")
        derivative = by_hand.slope(
            lambda size, layer=layer, change=change: measure(
                model, pair, [adding(f"blocks.{layer}.hook_resid_mid", size * change)]
            ),
            0.01,
        )
        assert score == pytest.approx(derivative, abs=2e-3)


def test_half_precision_is_near(model):
    """Measured: 0.03 of the largest score."""
    pair = unequal_pair()
    whole = attribute(model, [pair]).summed(0, "words")
    half = wrap(make_hf_model().bfloat16(), make_vocab())
    rounded = attribute(half, [pair]).summed(0, "words")
    assert (rounded - whole).abs().max() < 0.1 * whole.abs().max()


def test_hooks_that_lead_nowhere_are_refused():
    """OPT's scores are seen behind the attention that computed them, so they cannot be changed."""
    from slm_lens.interventions.attribution._runs import gradients, record_graph

    model, pair = opt_bridge(), whole_pair()
    last = "blocks.2.hook_resid_post"
    graph = record_graph(model, pair.clean.tokens, [last])
    aside = graph["blocks.0.hook_resid_pre"] * 2
    with pytest.raises(ValueError, match=r"does not go on with .*\['aside'\] see"):
        gradients(graph[last].sum(), {"aside": aside})
    with pytest.raises(ValueError, match="differs from the softmax of its scores"):
        attribute(model, [pair], kinds=("q",), qk_fix=True)


def test_a_plain_bridge_is_scored_as_well():
    bridge, pair = plain_bridge(), whole_pair()
    ours, theirs = attribute(bridge, [pair]), attribute(gqa_model(), [pair])
    torch.testing.assert_close(ours.summed(0, "all"), theirs.summed(0, "all"))
    assert ours.provenance is None
    assert ours.top(bridge, 1)["verified"].is_not_null().all()


@pytest.mark.usefixtures("untyped")
def test_what_cannot_be_scored_is_refused(model):
    from slm_lens.interventions.attribution.nodes import attribute_nodes
    from slm_lens.interventions.metrics import log_prob

    pair = whole_pair()

    def refused(message, pairs=(pair,), metric=None, of=model, **options):
        with pytest.raises(ValueError, match=message):
            attribute_nodes(of, list(pairs), metric or log_prob(), **options)

    from slm_lens.interventions.metrics import answer_rank

    refused("got the metric 'rank', which has no gradients", metric=answer_rank())
    refused("expected at least one, each with a name", pairs=())
    refused("expected at least one, each with a name", pairs=(pair, pair))
    refused("got fit='bend', expected one of", fit="bend")
    refused("pattern has no features", kinds=("z", "pattern"))
    refused("got kinds \\(\\), expected some of", kinds=())
    refused("steps=0 and ends='corrupted', expected a whole number", steps=0)
    refused("ends='both', expected a whole number, at least 1, and one of", ends="both")
    refused("AtP\\* is defined for the corrupted run alone", steps=2, grad_drop=True)
    refused("expected 'q' or 'k' among them", qk_fix=True)
    refused("at least 2: it divides", of=gqa_model(1), grad_drop=True)
    refused("expected equal lengths for fit='equal'", pairs=(unequal_pair(),), fit="equal")
    training = gqa_model()
    training.train()
    refused("in training mode", of=training)
    found = attribute(model, [pair])
    with pytest.raises(ValueError, match="got n=0, expected at least 1"):
        found.top(model, 0)
    with pytest.raises(ValueError, match="got at='word', expected one of"):
        found.summed(0, "word")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="unembedding differs from that of the one that"):
        found.top(gqa_model(seed=1))
    with pytest.raises(ValueError, match="differs from the one that the scores are of"):
        found.top(wrap(make_hf_model().double(), make_vocab()), 1)


def test_a_pattern_that_is_no_softmax_is_refused(model):
    def halved(value, hook):  # noqa: ARG001 (given by name)
        return value / 2

    with (
        model.hooks(fwd_hooks=[("blocks.1.attn.hook_pattern", halved)]),
        pytest.raises(ValueError, match=r"layer 1 differs from the softmax .* attention sinks"),
    ):
        attribute(model, [whole_pair()], kinds=("q",), qk_fix=True)
