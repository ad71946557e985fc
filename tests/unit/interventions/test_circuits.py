"""Circuits against plain runs, transformer-lens, and written-out groups."""

import by_hand
import pytest
import torch
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
from tiny_speech import make_hf_model, make_vocab, wrap


@pytest.fixture(scope="module")
def model():
    return gqa_model()


def keep(model, pairs, circuits, **options):
    from slm_lens.interventions.attribution.circuits import faithfulness
    from slm_lens.interventions.metrics import logit_difference

    return faithfulness(model, pairs, logit_difference(), circuits, **options)


def some_edges(model, share, seed=0):
    from slm_lens.interventions.attribution.graph import residual_graph

    graph = residual_graph(model)
    generator = torch.Generator().manual_seed(seed)
    return [
        (graph.writers[w], graph.readers[r])
        for w, r in graph.edges.nonzero().tolist()
        if torch.rand(1, generator=generator).item() < share
    ]


def measure(model, tokens):
    return by_hand.logit_difference(model, tokens, answer=ANSWER, foil=FOIL)


@pytest.mark.parametrize(
    "make", [gqa_model, written_out_model, gpt2_bridge, opt_bridge, granite_bridge]
)
def test_all_edges_are_the_clean_run_and_none_the_corrupted_one(make):
    model, pair = make(), whole_pair()
    found = keep(model, [pair], [some_edges(model, 2), []])
    clean, corrupted = (measure(model, run.tokens) for run in (pair.clean, pair.corrupted))
    assert found.everything.item() == pytest.approx(clean, abs=1e-5)
    assert found.nothing.item() == pytest.approx(corrupted, abs=1e-5)
    assert found.values[0].tolist() == pytest.approx([clean, corrupted], abs=2e-5)
    assert found.shares()[0].tolist() == pytest.approx([1, 0], abs=2e-5)


@pytest.mark.parametrize("make", [written_out_model, gpt2_bridge])
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_faithfulness_is_that_of_transformer_lens(make, share):
    from transformer_lens.tools.analysis import attribution_patching as theirs

    model, pair = make(), whole_pair()
    circuit = some_edges(model, share)
    expected = theirs.faithfulness(
        model,
        pair.clean.tokens[None],
        pair.corrupted.tokens[None],
        lambda logits: logits[0, -1, ANSWER] - logits[0, -1, FOIL],
        [edge for edge in circuit for edge in at_each_position(theirs.Node, *edge)],
    )
    found = keep(model, [pair], [circuit])
    assert found.n_edges * 7 == expected.total_edges
    assert found.shares().item() == pytest.approx(expected.recovered, abs=1e-4)
    assert abs(expected.recovered) > 1e-2


def at_each_position(Node, writer, reader):
    sender = {"embed": "embed", "head": "attn_head_out", "mlp": "mlp_out"}[writer.kind]
    receiver = {"mlp": "mlp_in", "logits": "logits"}.get(reader.kind, f"{reader.kind}_input")
    for i in range(7):
        yield (
            Node(sender, i, None if sender == "embed" else writer.layer, writer.head),
            Node(receiver, i, min(reader.layer, 2), reader.head),
        )


@pytest.mark.parametrize("pair", [whole_pair(), unequal_pair()], ids=lambda pair: pair.name)
def test_a_group_is_all_of_its_copies(model, pair):
    from slm_lens.interventions.attribution.graph import StreamReader

    circuit = some_edges(model, 0.5)
    copies = []
    for writer, reader in circuit:
        if reader.kind in ("k", "v"):
            copies += [
                (writer, StreamReader(reader.kind, reader.layer, 2 * reader.head + i))
                for i in (0, 1)
            ]
        else:
            copies.append((writer, reader))
    grouped = keep(model, [pair], [circuit])
    written_out = keep(written_out_model(), [pair], [copies])
    torch.testing.assert_close(grouped.values, written_out.values, atol=2e-5, rtol=1e-4)
    assert abs(grouped.shares().item() - 1) > 0.01


def test_half_precision_is_near(model):
    """Measured: 0.02 of the difference with and without edges."""
    pair, circuit = unequal_pair(), some_edges(model, 0.5)
    half = wrap(make_hf_model().bfloat16(), make_vocab())
    rounded = keep(half, [pair], [circuit]).shares()
    assert (rounded - keep(model, [pair], [circuit]).shares()).abs().max() < 0.15


def test_runs_of_unequal_length_keep_their_own_ends(model):
    """The end is matched with one position, so without edges the corrupted prediction stands."""
    pair = unequal_pair()
    found = keep(model, [pair], [[]])
    assert found.everything.item() == pytest.approx(measure(model, pair.clean.tokens), abs=1e-5)
    assert found.nothing.item() == pytest.approx(measure(model, pair.corrupted.tokens), abs=1e-5)


def test_the_table_has_sizes_and_shares(model):
    pairs = [whole_pair(), unequal_pair()]
    circuits = [some_edges(model, share) for share in (0.2, 0.7)]
    found = keep(model, pairs, circuits)
    frame = found.to_frame()
    assert frame["pair"].to_list() == ["whole", "whole", "unequal", "unequal"]
    assert frame["n_edges"].to_list()[:2] == [len(circuit) for circuit in circuits]
    assert frame["faithfulness"].to_list() == pytest.approx(found.shares().flatten().tolist())
    assert frame["share_of_edges"][0] == pytest.approx(len(circuits[0]) / 190)


def test_the_model_is_left_as_it_was(model):
    pair = whole_pair()
    before = measure(model, pair.clean.tokens)
    keep(model, [pair], [some_edges(model, 0.5)])
    assert measure(model, pair.clean.tokens) == before
    assert not any(point.fwd_hooks for point in model.hook_dict.values())


def test_what_is_no_circuit_is_refused(model):
    from slm_lens.interventions.attribution.graph import StreamReader, StreamWriter
    from slm_lens.interventions.pairs.run_pair import RunPair

    pair = whole_pair()
    with pytest.raises(ValueError, match="faithfulness: got no circuit"):
        keep(model, [pair], [])
    with pytest.raises(ValueError, match=r"faithfulness: got the edge L1 mlp -> L1H0 q"):
        keep(model, [pair], [[(StreamWriter("mlp", 1), StreamReader("q", 1, 0))]])
    same = RunPair("same", pair.clean, pair.clean, pair.answer, pair.foil, pair.matches)
    with pytest.raises(ValueError, match=r"the pair 'same' has logit_difference .* to share out"):
        keep(model, [same], [[]])


def test_a_model_that_is_not_its_readers_is_refused(model):
    """A hook that scales what the queries' projection gives, in both runs."""

    def scaled(value, hook):  # noqa: ARG001 (given by name)
        return 2 * value

    with (
        model.hooks(fwd_hooks=[("blocks.1.attn.hook_q", scaled)]),
        pytest.raises(ValueError, match="the circuit of all edges ends in a stream that is off by"),
    ):
        keep(model, [whole_pair()], [[]])
