"""The pass over the vocabulary against whole rows of logits in numpy."""

import inspect
import itertools
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import whole_rows as oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from readout_cases import (
    ALL,
    SUBSETS,
    at_positions,
    cases,
    check,
    ids_of,
    logits_of,
    make,
    make_parts,
)

import slm_lens.readout.read_out as module
from slm_lens.readout._block import Needs, Site, SiteRows
from slm_lens.readout._engine import run_blocks
from slm_lens.readout._grid import Cell, Grid
from slm_lens.readout.parts import VocabParts
from slm_lens.readout.read_out import _block, read_out
from slm_lens.readout.unembedding import Unembedding
from slm_lens.readout.wanted import NO_TARGET, Wanted, target_sets


@settings(max_examples=60)
@given(drawn=cases(), n_targets=st.integers(1, 12), k=st.integers(1, 6), shared=st.booleans())
def test_positions_are_those_of_whole_rows(drawn, n_targets, k, shared):
    case = make(drawn)
    n_layers, n_pos, _ = case["states"].shape
    parts = case["parts"]
    shape = (n_targets,) if shared else (n_pos, n_targets)
    targets = torch.randint(parts.d_vocab, shape, generator=case["generator"])
    given = targets if shared else targets.expand(n_layers, -1, -1)
    wanted = Wanted(frozenset(ALL), given, k=k)
    read = read_out(
        case["states"], case["unembedding"], parts, {"position": wanted}, **case["sizes"]
    )["position"]
    rows = targets.expand(n_pos, -1).tolist()
    check(read, logits_of(case), [[(t,) for t in row] for row in rows], parts, k)


@settings(max_examples=60)
@given(drawn=cases(), n_sets=st.integers(1, 11), k=st.integers(1, 4), data=st.data())
def test_words_are_those_of_whole_rows(drawn, n_sets, k, data):
    case = make(drawn)
    n_pos, parts = case["states"].shape[1], case["parts"]
    cuts = data.draw(st.sets(st.integers(0, n_pos), min_size=2, max_size=8).map(sorted))
    pairs = list(itertools.pairwise(cuts))
    spans = pairs[:: data.draw(st.integers(1, 2))]  # every one, or with gaps
    token = st.integers(0, parts.d_vocab - 1)
    sets = [[tuple(data.draw(st.lists(token, max_size=3))) for _ in range(n_sets)] for _ in spans]
    wanted = Wanted(frozenset(ALL), target_sets(sets), k=k)
    both = read_out(
        case["states"],
        case["unembedding"],
        parts,
        {"max": wanted, "last": wanted},
        spans=torch.tensor(spans),
        **case["sizes"],
    )
    for pool, read in both.items():
        rows = np.stack([oracle.pooled(z, spans, pool) for z in logits_of(case)])
        check(read, rows, sets, parts, k)


@settings(max_examples=60)
@given(drawn=cases())
def test_divergence_from_the_final_layer(drawn):
    case = make(drawn)
    states, parts = case["states"], case["parts"]
    wanted = Wanted(frozenset({"kl"}))
    read = read_out(
        states,
        case["unembedding"],
        parts,
        {"position": wanted},
        final=states[-1],
        **case["sizes"],
    )["position"]
    z = logits_of(case)
    for subset in SUBSETS:
        within = z[..., ids_of(parts, subset)]
        expected = oracle.divergence(within[-1], within)
        assert read.kl[subset].numpy() == pytest.approx(expected, abs=1e-5)
        assert (read.kl[subset][-1].abs() <= 1e-7).all()


@pytest.fixture(scope="module")
def real():
    """Weights and states of a size at which products are rounded and tiles matter."""
    generator = torch.Generator().manual_seed(3)
    part_of = torch.zeros(5000, dtype=torch.int64)
    part_of[4000:4400], part_of[4400:4500], part_of[4500:] = 1, 2, 3
    weight = 0.3 * torch.randn(5000, 96, generator=generator)
    states = torch.randn(4, 60, 96, generator=generator)
    targets = torch.randint(5000, (32,), generator=generator)
    return Unembedding(weight), states, make_parts(part_of), targets


class TestReal:
    def test_ranks_and_top_tokens_equal_those_of_one_product(self, real):
        unembedding, states, parts, targets = real
        wanted = Wanted(frozenset({"rank", "top_k"}), targets)
        read = read_out(states, unembedding, parts, {"position": wanted})["position"]
        z = states @ unembedding.weight.T
        for subset in SUBSETS:
            ids = torch.tensor(ids_of(parts, subset))
            above = z[..., None, ids] > z[..., targets][..., None]
            is_in = torch.isin(targets, ids)
            assert read.rank[subset].equal((1 + above.sum(-1)) * is_in)
            top = z[..., ids].topk(10)
            assert read.top_k[subset].ids.equal(ids[top.indices])
            assert read.top_k[subset].logits.equal(top.values)

    def test_against_float64_ranks_differ_only_at_near_ties(self, real):
        unembedding, states, parts, targets = real
        wanted = Wanted(frozenset(ALL), targets, k=1)
        read = read_out(states, unembedding, parts, {"position": wanted})["position"]
        z = states.double() @ unembedding.weight.double().T
        best = z[..., targets][..., None]
        exact = 1 + (z[..., None, :] > best).sum(-1)
        near = ((z[..., None, :] - best).abs() < 1e-5).sum(-1) - 1  # the target is one of them
        assert ((read.rank["full"] - exact).abs() <= near).all()
        assert (read.rank["full"] != exact).sum() <= near.sum()
        log_p = z.log_softmax(-1)
        assert torch.allclose(read.log_prob["full"].double(), log_p[..., targets], atol=1e-5)
        entropy = -(log_p.exp() * log_p).sum(-1)
        assert torch.allclose(read.entropy["full"].double(), entropy, atol=1e-5)

    def test_neither_tiles_nor_threads_nor_half_the_wishes_change_a_rank(self, real):
        unembedding, states, parts, targets = real
        wanted = Wanted(frozenset(ALL), targets)
        first = read_out(states, unembedding, parts, {"position": wanted})["position"]
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(1)
            other = read_out(
                states, unembedding, parts, {"position": wanted}, rows=7, tile_columns=333
            )["position"]
        finally:
            torch.set_num_threads(threads)
        few = read_out(
            states[1:2],
            unembedding,
            parts,
            at_positions({"rank"}, targets[:1], ("text",)),
        )["position"]
        for subset in SUBSETS:
            assert first.rank[subset].equal(other.rank[subset])
            assert first.top_k[subset].ids.equal(other.top_k[subset].ids)
            assert torch.allclose(first.entropy[subset], other.entropy[subset], atol=1e-5)
        assert few.rank["text"].equal(first.rank["text"][1:2, :, :1])
        assert not (few.entropy)
        assert not (few.mass)
        assert not (few.top_k)
        assert not (few.log_prob)
        assert not (few.kl)
        assert not (few.log_normaliser)

    def test_one_row_reads_as_among_others(self, real):
        unembedding, states, parts, targets = real
        wanted = at_positions({"rank", "top_k"}, targets)
        among = read_out(states, unembedding, parts, wanted)["position"]
        alone = read_out(states[2, 5][None], unembedding, parts, wanted)["position"]
        assert alone.rank["full"][0].equal(among.rank["full"][2, 5])
        one, other = alone.top_k["text"], among.top_k["text"]
        assert one.ids[0].equal(other.ids[2, 5])
        # A product of few rows is rounded otherwise: 1e-6 seen.
        assert torch.allclose(one.logits[0], other.logits[2, 5], atol=1e-5)

    def test_a_target_that_was_rounded_otherwise_is_ranked_by_its_own_tile(self, real):
        """The logits that targets are first compared by are spoiled, as another product would."""
        unembedding, states, parts, targets = real
        grid = Grid(states, None, None, states.shape[:-1])
        sets: dict[Site, Any] = {"position": targets.view(1, 1, -1, 1)}
        needs: dict[Site, Any] = {
            "position": {p: Needs(True, False, False, False, 0) for p in range(4)}
        }
        cell = Cell(range(4), range(60), range(0))
        block = _block(grid, cell, sets, needs, unembedding, None)
        block.target_logits += 0.01
        for site in block.sites:
            site.find_best(block.target_logits)
        (known,) = run_blocks([block], unembedding, parts, 512)
        assert not block.is_exact
        counts: list[Any] = [states_of[0].above for states_of in known.values()]
        rising = torch.stack(counts).sum(0)
        order: Any = block.sites[0].order
        above = torch.empty_like(rising).scatter_(1, order, rising)
        z = (states @ unembedding.weight.T).flatten(0, 1)
        assert above.equal((z[:, None] > z[:, targets][..., None]).sum(-1))

    def test_threads_are_left_as_they_were(self, real):
        unembedding, states, parts, _ = real
        before = torch.get_num_threads()
        read_out(states, unembedding, parts, at_positions({"mass"}))
        seen = []
        thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert torch.get_num_threads() == before
        assert seen == [before]


class TestGradients:
    @pytest.mark.parametrize("statistic", ["log_prob", "mass", "entropy", "kl", "log_normaliser"])
    @pytest.mark.parametrize("subset", ["text", "speech", "full"])
    def test_they_are_those_of_whole_rows(self, real, statistic, subset):
        unembedding, states, parts, targets = real
        targets = targets[parts.part_of[targets] == 0] if subset == "text" else targets
        states = states[:, :7]
        ids = torch.tensor(ids_of(parts, subset))

        def ours(h):
            wanted = Wanted(
                frozenset({statistic}), targets if statistic == "log_prob" else None, (subset,)
            )
            final = states[-1] if statistic == "kl" else None
            read = read_out(
                h,
                unembedding,
                parts,
                {"position": wanted},
                final=final,
                differentiable=True,
                rows=10,
                tile_columns=600,
            )["position"]
            if statistic == "mass":
                return read.mass["units"].log().sum()
            return getattr(read, statistic)[subset].nan_to_num().sum()

        def whole_rows(h):
            z = h @ unembedding.weight.T
            log_p = z[..., ids].log_softmax(-1)
            if statistic == "mass":
                return z.log_softmax(-1)[..., parts.part_of == 1].logsumexp(-1).sum()
            if statistic == "log_normaliser":
                return z[..., ids].logsumexp(-1).sum()
            if statistic == "log_prob":
                column = {int(t): i for i, t in enumerate(ids)}
                here = [column[int(t)] for t in targets if int(t) in column]
                return log_p[..., here].sum()
            if statistic == "entropy":
                return -(log_p.exp() * log_p).sum()
            last = (states[-1] @ unembedding.weight.T)[..., ids].log_softmax(-1)
            return (last.exp() * (last - log_p)).sum()

        found = []
        for function in (ours, whole_rows):
            h = states.clone().requires_grad_()
            value = function(h)
            value.backward()
            found.append((value.detach(), h.grad))
        assert torch.allclose(found[0][0], found[1][0], rtol=1e-5, atol=1e-4)
        assert torch.allclose(found[0][1], found[1][1], rtol=1e-3, atol=1e-5)
        assert found[0][1].abs().max() > 1e-3

    def test_ranks_beside_them_are_the_same(self, real):
        unembedding, states, parts, targets = real
        wanted = at_positions(ALL, targets)
        h = states.clone().requires_grad_()
        with_gradients = read_out(h, unembedding, parts, wanted, differentiable=True)["position"]
        plain = read_out(h, unembedding, parts, wanted)["position"]
        assert with_gradients.rank["full"].equal(plain.rank["full"])
        assert with_gradients.top_k["full"].ids.equal(plain.top_k["full"].ids)
        assert torch.allclose(with_gradients.entropy["text"], plain.entropy["text"], atol=1e-5)
        assert with_gradients.entropy["text"].requires_grad
        assert not plain.entropy["text"].requires_grad

    def test_ranks_keep_the_order_of_targets_that_their_tiles_have(self, real, monkeypatch):
        """The logits that targets are first compared by come in another order."""
        unembedding, states, parts, targets = real
        wanted = at_positions({"rank"}, targets)
        plain = read_out(states, unembedding, parts, wanted)["position"]

        def spoiled(*given):
            block = _block(*given)
            block.target_logits = -block.target_logits
            for site in block.sites:
                site.find_best(block.target_logits)
            return block

        monkeypatch.setattr(module, "_block", spoiled)
        read = read_out(states, unembedding, parts, wanted, differentiable=True)["position"]
        assert read.rank["full"].equal(plain.rank["full"])


class TestRefused:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"statistics": frozenset()}, r"got statistics none, expected one or more"),
            ({"statistics": frozenset({"rank"})}, r"\['rank'\] without targets"),
            (
                {"statistics": frozenset({"mass"}), "targets": torch.zeros(1, dtype=torch.int64)},
                r"\['mass'\] and targets",
            ),
            ({"statistics": frozenset({"top_k"}), "k": 0}, r"got k=0"),
        ],
    )
    def test_wishes(self, options, message):
        with pytest.raises(ValueError, match=r"readout: .*" + message):
            Wanted(**options)

    def test_an_unknown_wish(self):
        with pytest.raises(ValueError, match=r"readout: got statistics \['ranks'\]"):
            inspect.unwrap(Wanted.__post_init__)(
                SimpleNamespace(statistics=frozenset({"ranks"}), targets=None, k=1)
            )

    @pytest.mark.parametrize(
        ("wanted", "options", "message"),
        [
            ({"position": {"targets": [5000]}}, {}, r"got target ids \[5000\]"),
            ({"position": {"targets": [[3]]}}, {}, r"got targets of shape \(1, 1\)"),
            ({"max": {"targets": [[[3]]]}}, {}, r"got no spans and sites"),
            ({"position": {}}, {"spans": [[0, 1]]}, r"got spans and sites \['position'\]"),
            ({"max": {}}, {"spans": [[0, 61]]}, r"got spans \[\[0, 61\]\]"),
            ({"max": {}}, {"spans": [[0, 2], [1, 3]]}, r"spans that overlap"),
            ({"max": {"targets": [[[3]]]}}, {"spans": [[0, 1], [1, 2]]}, r"got targets of shape"),
            ({"position": {"within": ("letters",)}}, {}, r"got within='letters'"),
            ({"position": {"kl": True}}, {}, r"got no final states"),
            ({"position": {}}, {"final": (60, 96)}, r"got final states, expected them where"),
            ({"position": {"kl": True}}, {"final": (59, 96)}, r"final states of shape \(59, 96\)"),
            ({}, {}, r"0 sites"),
        ],
    )
    def test_what_does_not_fit(self, real, wanted, options, message):
        unembedding, states, parts, _ = real
        asked: dict[Any, Wanted] = {}
        for site, w in wanted.items():
            targets = torch.tensor(w["targets"]) if "targets" in w else None
            statistic = "rank" if "targets" in w else "kl" if "kl" in w else "mass"
            asked[site] = Wanted(frozenset({statistic}), targets, w.get("within"))
        given: dict[str, Any] = {}
        if "spans" in options:
            given = {"spans": torch.tensor(options["spans"])}
        if "final" in options:
            given = {"final": torch.zeros(options["final"])}
        with pytest.raises(ValueError, match=r"readout: .*" + message):
            read_out(states, unembedding, parts, asked, **given)

    def test_no_states_and_another_vocabulary(self, real):
        unembedding, states, parts, _ = real
        wanted = at_positions({"mass"})
        with pytest.raises(ValueError, match=r"readout: got states of shape \(0, 96\)"):
            read_out(states[0, :0], unembedding, parts, wanted)
        smaller = make_parts(parts.part_of[:-1])
        with pytest.raises(ValueError, match=r"5000 rows and parts of a vocabulary of 4999"):
            read_out(states, unembedding, smaller, wanted)

    def test_parts(self):
        with pytest.raises(ValueError, match=r"VocabParts: got subsets of the parts \['letters'\]"):
            VocabParts(torch.zeros(3, dtype=torch.int64), ("text",), {"text": ("letters",)})
        with pytest.raises(ValueError, match=r"1 of 3 tokens in no part"):
            VocabParts(torch.tensor([0, 0, 7]), ("text",), {"text": ("text",)})

    def test_sets(self):
        with pytest.raises(ValueError, match=r"target_sets: got words with \[\] target sets"):
            target_sets([])
        with pytest.raises(ValueError, match=r"target_sets: got words with \[1, 2\] target sets"):
            target_sets([[(0,)], [(0,), (1,)]])
        assert target_sets([[(4,), ()], [(1, 2), (3,)]]).tolist() == [
            [[4, NO_TARGET], [NO_TARGET, NO_TARGET]],
            [[1, 2], [3, NO_TARGET]],
        ]


def test_pooled_rows_of_no_word():
    rows = SiteRows("max", [], None, {})
    assert rows.pooled(torch.zeros(3, 4)).shape == (0, 4)
