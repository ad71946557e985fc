"""Scores of edges against transformer-lens, written-out groups, and derivatives by differences."""

import by_hand
import pytest
import torch
from by_hand import activation, adding, moved_difference
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


@pytest.fixture(scope="module")
def model():
    return gqa_model()


def attribute(model, pairs, **options):
    from slm_lens.interventions.attribution.edges import attribute_edges
    from slm_lens.interventions.metrics import logit_difference

    return attribute_edges(model, pairs, logit_difference(), **options)


def measure(model, pair, hooks=()):
    return by_hand.logit_difference(model, pair.corrupted.tokens, hooks, answer=ANSWER, foil=FOIL)


def by_label(found, pair=0):
    """Scores by the labels of writer and reader; the last axis counts places."""
    return {
        (writer.label, reader.label): found.scores[pair][w, r]
        for w, writer in enumerate(found.graph.writers)
        for r, reader in enumerate(found.graph.readers)
        if found.graph.edges[w, r]
    }


@pytest.mark.slow
@pytest.mark.parametrize("make", [written_out_model, gpt2_bridge])
def test_scores_are_those_of_transformer_lens(make):
    from transformer_lens.tools.analysis import attribution_patching as theirs

    model, pair = make(), whole_pair()
    scores = by_label(attribute(model, [pair], at="positions"))
    expected = theirs.attribution_patch(
        model,
        pair.clean.tokens[None],
        pair.corrupted.tokens[None],
        lambda logits: logits[0, -1, ANSWER] - logits[0, -1, FOIL],
        theirs.EdgeAttributionConfig(granularity="edge"),
    ).edge_scores
    assert len(expected) == 7 * len(scores)
    size = max(map(abs, expected.values()))
    for (writer, reader), score in expected.items():
        sender = {
            "embed": "embed",
            "attn_head_out": f"L{writer.layer}H{writer.head}",
            "mlp_out": f"L{writer.layer} mlp",
        }[writer.kind]
        group = "H" if reader.kind == "q_input" else "G"
        receiver = {"mlp_in": f"L{reader.layer} mlp", "logits": "logits"}.get(
            reader.kind, f"L{reader.layer}{group}{reader.head} {reader.kind[0]}"
        )
        got = scores[sender, receiver][writer.position].item()
        assert got == pytest.approx(score, abs=1e-5 * size)


@pytest.mark.parametrize("steps", [1, 3])
def test_edges_of_a_group_are_the_sum_of_its_copies(model, steps):
    pair = unequal_pair()
    grouped = by_label(attribute(model, [pair], at="words", steps=steps))
    copies = by_label(attribute(written_out_model(), [pair], at="words", steps=steps))
    assert len(grouped) < len(copies)
    for (writer, reader), scores in grouped.items():
        expected = copies[writer, reader] if reader[-1] not in "kv" else 0
        if reader[-1] in "kv":
            layer, group, kind = reader[:2], int(reader[3]), reader[-1]
            for copy in (2 * group, 2 * group + 1):
                expected = expected + copies[writer, f"{layer}G{copy} {kind}"]
        torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-4)


EDGES = [
    ("embed", "L0H2 q"),
    ("embed", "L1G1 k"),
    ("L0H1", "L2G0 v"),
    ("L0 mlp", "L1H3 q"),
    ("L1H0", "L1 mlp"),
    ("L1 mlp", "logits"),
    ("L2H3", "logits"),
]


def contribution(model, pair, writer):
    """Clean less corrupted vector of a writer in the stream."""
    if writer == "embed":
        return moved_difference(model, pair, "hook_embed")
    layer = int(writer[1])
    if writer.endswith("mlp"):
        return moved_difference(model, pair, f"blocks.{layer}.hook_mlp_out")
    z = moved_difference(model, pair, f"blocks.{layer}.attn.hook_z")
    head = int(writer[3])
    W_O = model.original_model.model.layers[layer].self_attn.o_proj.weight
    return z[:, head] @ W_O.detach().T[4 * head : 4 * head + 4]


def into(reader, change):
    """Adds to the input of one reader, with the bridge's own copies of the stream."""
    layer = int(reader[1]) if reader != "logits" else 2
    if reader == "logits":
        return adding("blocks.2.hook_resid_post", change)
    if reader.endswith("mlp"):
        return adding(f"blocks.{layer}.hook_mlp_in", change)

    def hook(inputs, hook):  # noqa: ARG001 (given by name)
        changed = inputs.clone()
        changed[0, :, int(reader[3])] += change
        return changed

    return f"blocks.{layer}.attn.hook_{reader[-1]}_input", hook


@pytest.mark.parametrize(
    ("steps", "ends", "parts"),
    [(1, "corrupted", [0]), (2, "corrupted", [0, 0.5]), (2, "clean", [0.5, 1])],
)
def test_scores_are_derivatives_at_the_inputs_of_readers(steps, ends, parts):
    model, pair = exact_model(), unequal_pair()
    scores = by_label(attribute(model, [pair], at="words", steps=steps, ends=ends))
    embedded = moved_difference(model, pair, "hook_embed")
    model.set_use_split_qkv_input(True)
    model.set_use_hook_mlp_in(True)
    for writer, reader in EDGES:
        change = contribution(model, pair, writer)
        change[:3] = change[7:] = 0  # the word "fox"
        derivatives = [
            by_hand.slope(
                lambda size, part=part, reader=reader, change=change: measure(
                    model,
                    pair,
                    [adding("hook_embed", part * embedded), into(reader, size * change)],
                )
            )
            for part in parts
        ]
        got = scores[writer, reader][2].item()
        assert got == pytest.approx(sum(derivatives) / steps, abs=3e-4), (writer, reader)


@pytest.mark.parametrize("make", [gqa_model, granite_bridge, opt_bridge])
def test_the_edges_out_of_a_writer_sum_to_its_node_score(make):
    from slm_lens.interventions.attribution.nodes import attribute_nodes
    from slm_lens.interventions.metrics import logit_difference

    model, pair = make(), unequal_pair()
    edges = attribute(model, [pair], at="positions")
    nodes = attribute_nodes(model, [pair], logit_difference()).summed(0, "positions")
    sums = edges.scores[0].sum(1)
    found = attribute_nodes(model, [pair], logit_difference()).sites
    for writer, scores in zip(edges.graph.writers, sums, strict=True):
        label = {
            "embed": "L0 resid_pre",
            "head": f"{writer.label} z",
            "mlp": f"L{writer.layer} mlp_out",
        }[writer.kind]
        row = [site.label for site in found].index(label)
        torch.testing.assert_close(scores, nodes[row], atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_edges_out_of_the_embeddings_sum_to_the_difference_of_the_metric():
    """As for nodes: measured 0.017 of -2.47 at 50 steps, with the other sign at the other end."""
    model, pair = exact_model(2), whole_pair(seed=4)
    both = [attribute(model, [pair], steps=50, ends=ends) for ends in ("corrupted", "clean")]
    difference = (both[0].clean - both[0].corrupted).item()
    sums = [found.scores[0][0].sum().item() for found in both]
    assert max(abs(total - difference) for total in sums) < 3e-2
    assert sum(sums) / 2 == pytest.approx(difference, abs=1e-3)
    assert both[0].method == "EAP-IG, 50 steps with the corrupted end"


def test_half_precision_is_near(model):
    """Measured: 0.02 of the largest score."""
    pair = unequal_pair()
    whole = attribute(model, [pair]).mean()
    rounded = attribute(wrap(make_hf_model().bfloat16(), make_vocab()), [pair]).mean()
    assert (rounded - whole).abs().max() < 0.1 * whole.abs().max()


def test_places_are_sums_over_positions(model):
    pair = unequal_pair()
    by_position = attribute(model, [pair], at="positions").scores[0]
    spans = {"words": [(0, 1), (1, 3), (3, 7), (8, 9)], "all": [(0, 9)]}
    spans["roles"] = spans["words"]  # each role once, in this order
    for at, wanted in spans.items():
        got = attribute(model, [pair], at=at).scores[0]
        expected = torch.stack([by_position[..., a:b].sum(-1) for a, b in wanted], -1)
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)
    assert not by_position[..., 7].any()


def test_vectors_that_do_not_fit_are_computed_again(model):
    pair = whole_pair()
    kept, again = attribute(model, [pair]), attribute(model, [pair], memory_mb=0)
    assert torch.equal(kept.scores[0], again.scores[0])


@pytest.mark.slow
def test_the_table_of_the_largest_has_what_really_happens(model):
    pairs = [unequal_pair(), whole_pair()]
    found = attribute(model, pairs, at="words")
    frame = found.to_frame()
    assert len(frame) == 190 * (4 + 1)
    top = found.top(model, 25)
    assert top["score"].abs().to_list() == sorted(frame["score"].abs(), reverse=True)[:25]
    by_name = {pair.name: pair for pair in pairs}
    before = {pair.name: measure(model, pair) for pair in pairs}
    try:
        model.set_use_split_qkv_input(True)
        model.set_use_hook_mlp_in(True)
        for row in top.iter_rows(named=True):
            pair = by_name[row["pair"]]
            own = contribution(model, pair, row["writer"])
            change = torch.zeros_like(own)
            span = slice(*next(m for m in pair.matches if m.label == row["label"]).corrupted)
            change[span] = own[span]
            after = measure(model, pair, [into(row["reader"], change)])
            assert row["verified"] == pytest.approx(after - before[pair.name], abs=1e-5)
    finally:
        model.set_use_split_qkv_input(False)
        model.set_use_hook_mlp_in(False)


@pytest.mark.slow
def test_the_largest_edges_of_all_pairs_make_a_circuit(model):
    found = attribute(model, [unequal_pair(), whole_pair()], at="roles")
    circuit = found.circuit(20)
    one, other = (scores.sum(-1) for scores in found.scores)
    sizes = {
        (writer, reader): abs((one[w, r] + other[w, r]).item() / 2)
        for w, writer in enumerate(found.graph.writers)
        for r, reader in enumerate(found.graph.readers)
        if found.graph.edges[w, r]
    }
    assert [sizes[edge] for edge in circuit] == sorted(sizes.values(), reverse=True)[:20]
    everything = found.circuit(190)
    assert len(set(everything)) == 190
    assert found.graph.mask(everything, "a test").equal(found.graph.edges)
    top = found.top(model, 500)
    row = top.filter(writer="embed", reader="L0G1 v", role="changed").row(0, named=True)
    assert (row["n_pairs"], row["pair"]) == (2, None)


def test_the_model_is_left_as_it_was(model):
    pair = whole_pair()
    before = measure(model, pair)
    attribute(model, [pair])
    assert measure(model, pair) == before
    assert not any(point.fwd_hooks or point.bwd_hooks for point in model.hook_dict.values())
    assert not model.cfg.use_split_qkv_input
    assert all(p.grad is None for p in model.parameters())


def post_normed():
    """Its heads are normed before they are added."""
    from transformers import Gemma2Config, Gemma2ForCausalLM

    config = Gemma2Config(
        vocab_size=72,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=4,
    )
    config._attn_implementation = "eager"
    return plain_bridge(Gemma2ForCausalLM(config).eval())


def parallel():
    """Attention and MLP read the same stream."""
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    config = GPTNeoXConfig(
        vocab_size=72,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
    )
    config._attn_implementation = "eager"
    return plain_bridge(GPTNeoXForCausalLM(config).eval())


def test_models_whose_stream_is_no_sum_are_refused():
    with pytest.raises(ValueError, match=r"attribute_edges: .* off by .* norm or scale"):
        attribute(post_normed(), [whole_pair()])
    with pytest.raises(ValueError, match=r"block 0 has no .*hook_resid_mid, expected an attention"):
        attribute(parallel(), [whole_pair()])


def test_another_reader_of_the_normed_stream_is_refused(model):
    """A gate on the heads, made of what queries, keys and values read."""
    kept = {}

    def see(value, hook):  # noqa: ARG001 (given by name)
        kept["normed"] = value

    def gate(value, hook):  # noqa: ARG001
        return value * kept["normed"].mean(-1)[..., None, None]

    hooks = [("blocks.1.ln1.hook_out", see), ("blocks.1.attn.hook_z", gate)]
    with (
        model.hooks(fwd_hooks=hooks),
        pytest.raises(ValueError, match=r"keys and values of layer 1 .* have a gate"),
    ):
        attribute(model, [whole_pair()])


@pytest.mark.usefixtures("untyped")
def test_what_cannot_be_scored_is_refused(model):
    from slm_lens.interventions.attribution.edges import attribute_edges
    from slm_lens.interventions.metrics import answer_rank

    pair = whole_pair()
    with pytest.raises(ValueError, match="got the metric 'rank', which has no gradients"):
        attribute_edges(model, [pair], answer_rank())
    with pytest.raises(ValueError, match="attribute_edges: got at='word', expected one of"):
        attribute(model, [pair], at="word")
    with pytest.raises(ValueError, match="attribute_edges: got steps=0"):
        attribute(model, [pair], steps=0)
    with pytest.raises(ValueError, match="expected at least one, each with a name"):
        attribute(model, [])
    found = attribute(model, [pair])
    with pytest.raises(ValueError, match="circuit: got n=191, expected 1 to 190"):
        found.circuit(191)
    with pytest.raises(ValueError, match="unembedding differs from that of the one that"):
        found.top(gqa_model(seed=1))
    with pytest.raises(ValueError, match="differs from the one that the scores are of"):
        found.top(wrap(make_hf_model().double(), make_vocab()), 1)
    assert activation(model, pair.clean.tokens, "hook_embed").shape == (7, 16)
