"""The Triton kernels in Triton's interpreter, against whole rows of logits in numpy.

No GPU takes part, so what the compiler makes of them is not seen here, only that it makes something
for two GPUs. Small blocks stand in for those of a GPU, so that rows have several of them.

    TRITON_INTERPRET=1 python -m pytest tests/unit/readout   # with triton installed
"""

import itertools
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

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

from slm_lens.readout import _device
from slm_lens.readout.read_out import read_out
from slm_lens.readout.unembedding import Unembedding
from slm_lens.readout.wanted import Wanted, target_sets

pytestmark = pytest.mark.skipif(
    find_spec("triton") is None or os.environ.get("TRITON_INTERPRET") != "1",
    reason="THE TRITON KERNEL IS NOT TESTED: install triton and set TRITON_INTERPRET=1",
)
# The interpreter takes some 10 ms for a row, part and tile.
FEW = 10
SMALL = {"d_vocab": 60, "n_layers": 2, "n_pos": 4, "tile_columns": (25, 70)}


@pytest.fixture(scope="module", autouse=True)
def _small_blocks():
    from slm_lens.readout import _triton

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_triton, "BLOCK", 8)
        patch.setattr(_triton, "GROUP", 4)
        yield


def read_by_triton(case, wanted, **options):
    return read_out(
        case["states"],
        case["unembedding"],
        case["parts"],
        wanted,
        kernel="triton",
        **case["sizes"],
        **options,
    )


@settings(max_examples=FEW)
@given(
    drawn=cases(**SMALL), n_targets=st.integers(1, 12), k=st.integers(1, 6), shared=st.booleans()
)
def test_positions_are_those_of_whole_rows(drawn, n_targets, k, shared):
    case = make(drawn)
    n_layers, n_pos, _ = case["states"].shape
    parts = case["parts"]
    shape = (n_targets,) if shared else (n_pos, n_targets)
    targets = torch.randint(parts.d_vocab, shape, generator=case["generator"])
    given = targets if shared else targets.expand(n_layers, -1, -1)
    wanted = Wanted(frozenset(ALL), given, k=k)
    read = read_by_triton(case, {"position": wanted})["position"]
    assert read.kernel == "triton"
    rows = targets.expand(n_pos, -1).tolist()
    check(read, logits_of(case), [[(t,) for t in row] for row in rows], parts, k)


@settings(max_examples=FEW)
@given(drawn=cases(**SMALL), n_sets=st.integers(1, 9), k=st.integers(1, 4), data=st.data())
def test_words_are_those_of_whole_rows(drawn, n_sets, k, data):
    case = make(drawn)
    n_pos, parts = case["states"].shape[1], case["parts"]
    cuts = data.draw(st.sets(st.integers(0, n_pos), min_size=2, max_size=8).map(sorted))
    spans = list(itertools.pairwise(cuts))[:: data.draw(st.integers(1, 2))]
    token = st.integers(0, parts.d_vocab - 1)
    sets = [[tuple(data.draw(st.lists(token, max_size=3))) for _ in range(n_sets)] for _ in spans]
    of_words = Wanted(frozenset(ALL), target_sets(sets), k=k)
    of_positions = Wanted(frozenset({"mass", "top_k"}), k=k)
    read = read_by_triton(
        case,
        {"max": of_words, "last": of_words, "position": of_positions},
        spans=torch.tensor(spans),
    )
    z = logits_of(case)
    for pool in ("max", "last"):
        rows = torch.tensor([oracle.pooled(layer, spans, pool).tolist() for layer in z]).numpy()
        check(read[pool], rows, sets, parts, k)
    ids = ids_of(parts, "full")
    for lead, pos in itertools.product(range(len(z)), range(n_pos)):
        expected = oracle.top_ids(z[lead, pos], ids, k)
        assert read["position"].top_k["full"].ids[lead, pos].tolist()[: len(ids)] == expected


@settings(max_examples=FEW)
@given(drawn=cases(**SMALL))
def test_divergence_from_the_final_layer(drawn):
    case = make(drawn)
    wanted = Wanted(frozenset({"kl", "entropy"}))
    final = case["states"][-1]
    read = read_by_triton(case, {"position": wanted}, final=final)["position"]
    z = logits_of(case)
    for subset in SUBSETS:
        within = z[..., ids_of(case["parts"], subset)]
        expected = oracle.divergence(within[-1], within)
        assert read.kl[subset].numpy() == pytest.approx(expected, abs=1e-5)
        assert read.entropy[subset].numpy() == pytest.approx(oracle.entropy(within), abs=1e-5)


@pytest.mark.parametrize(
    ("transform", "value"),
    [(lambda z: z * 0.0, 0.0), (lambda z: torch.full_like(z, -torch.inf), -torch.inf)],
    ids=["zeros of both signs", "minus infinity"],
)
def test_equal_logits(transform, value):
    """Nothing is above, and the lowest ids come first, in every block and tile."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(40, 5, generator=generator)
    unembedding = Unembedding(weight, transform=transform)
    states = torch.randn(1, 3, 5, generator=generator)
    parts = make_parts(torch.arange(40) % 4)
    wanted = Wanted(frozenset({"rank", "top_k"}), torch.tensor([38, 3, 21]), k=12)
    read = read_out(
        states, unembedding, parts, {"position": wanted}, tile_columns=30, kernel="triton"
    )["position"]
    assert (read.rank["full"] == 1).all()
    assert (read.top_k["full"].ids == torch.arange(12)).all()
    text = torch.cat([torch.arange(0, 40, 4), torch.full((2,), -1)])
    assert (read.top_k["text"].ids == text).all()
    assert (read.top_k["full"].logits == value).all()


@pytest.fixture(scope="module")
def real():
    """Weights and states whose products are rounded; parts of several blocks and tiles."""
    generator = torch.Generator().manual_seed(3)
    part_of = torch.zeros(300, dtype=torch.int64)
    part_of[200:235], part_of[235:245], part_of[245:] = 1, 2, 3
    weight = 0.5 * torch.randn(300, 96, generator=generator)
    states = 2 * torch.randn(2, 3, 96, generator=generator)
    targets = torch.randint(300, (12,), generator=generator)
    return Unembedding(weight), states, make_parts(part_of), targets


def test_against_float64_ranks_differ_only_at_near_ties(real):
    unembedding, states, parts, targets = real
    wanted = Wanted(frozenset({*ALL, "kl"}), targets, k=3)
    options = {"final": states[-1], "tile_columns": 128}
    read = read_out(states, unembedding, parts, {"position": wanted}, **options, kernel="triton")
    ours = read["position"]
    z = states.double() @ unembedding.weight.double().T
    best = z[..., targets][..., None]
    near = ((z[..., None, :] - best).abs() < 1e-4).sum(-1) - 1  # the target is one of them
    exact = 1 + (z[..., None, :] > best).sum(-1)
    assert ((ours.rank["full"] - exact).abs() <= near).all()
    log_p = z.log_softmax(-1)
    # Largest seen of both kernels: 1.6e-5 (down to -70 nats), 4e-6, and 7e-6 (up to 40 nats).
    assert torch.allclose(ours.log_prob["full"].double(), log_p[..., targets], atol=5e-5)
    entropy = -(log_p.exp() * log_p).sum(-1)
    assert torch.allclose(ours.entropy["full"].double(), entropy, atol=5e-5)
    kl = (log_p[-1].exp() * (log_p[-1] - log_p)).sum(-1)
    assert torch.allclose(ours.kl["full"].double(), kl, atol=5e-5)


def test_a_target_that_was_rounded_otherwise_is_ranked_by_its_own_tile(real, monkeypatch):
    """The logits that targets are first compared by are spoiled, as another product would."""
    from slm_lens.readout import _cuda

    unembedding, states, parts, targets = real

    def spoiled(block, *_):
        block.target_logits = block.target_logits + 0.1
        for site in block.sites:
            site.find_best(block.target_logits)

    monkeypatch.setattr(_cuda, "take_targets", spoiled)
    wanted = Wanted(frozenset({"rank"}), targets)
    read = read_out(
        states, unembedding, parts, {"position": wanted}, tile_columns=128, kernel="triton"
    )
    z = states @ unembedding.weight.T
    expected = 1 + (z[..., None, :] > z[..., targets][..., None]).sum(-1)
    assert read["position"].rank["full"].equal(expected)


def test_weights_that_are_stored_the_other_way_round_and_a_transform_that_turns(real):
    unembedding, states, parts, targets = real
    turned = Unembedding(unembedding.weight.T.contiguous().T, None, lambda z: z.T.contiguous().T)
    wanted = at_positions({"rank", "top_k"}, targets)
    one = read_out(states, turned, parts, wanted, tile_columns=128, kernel="triton")["position"]
    other = read_out(states, unembedding, parts, wanted, kernel="tiled")["position"]
    assert one.rank["text"].equal(other.rank["text"])
    assert one.top_k["speech"].ids.equal(other.top_k["speech"].ids)


@pytest.fixture
def _blocks_of_a_gpu(monkeypatch):
    from slm_lens.readout import _triton

    monkeypatch.setattr(_triton, "BLOCK", 1024)
    monkeypatch.setattr(_triton, "GROUP", 64)


@pytest.mark.usefixtures("_blocks_of_a_gpu")
class TestTheTrial:
    def test_it_passes(self):
        assert _device._why_not_triton(torch.device("cpu")) is None

    def test_a_kernel_that_counts_wrongly_is_not_used(self, monkeypatch):
        from slm_lens.readout import _cuda

        known = _cuda.Rows.known

        def off_by_one(rows):
            state: Any = known(rows)
            return replace(state, above=state.above + 1)

        monkeypatch.setattr(_cuda.Rows, "known", off_by_one)
        reason = _device._why_not_triton(torch.device("cpu"))
        assert reason == "it gave another rank in a small test. Please report this."

    def test_a_kernel_that_cannot_start_is_not_used(self, monkeypatch):
        from slm_lens.readout import _triton

        monkeypatch.setattr(_triton, "BLOCK", 17)  # no power of two
        reason = _device._why_not_triton(torch.device("cpu"))
        assert reason is not None
        assert reason.startswith("it does not run here (InterpreterError: ")


COMPILE = """
import sys
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from slm_lens.readout import _triton

KINDS = {"above": "*i32", "ids": "*i32", "starts": "*i64", "ends": "*i64", "keys": "*i64"}
KINDS |= dict.fromkeys(["logits", "final", "thresholds", "sums", "maxima"], "*fp32")
blocks = {"BLOCK": 1024, "GROUP": 64}
every = {"SUMS": True, "CROSS": True, "TOP": True, **blocks}
for is_range in (True, False):
    both = (_triton.statistics, every), (_triton.highest, blocks | {"GROUPS": 128})
    for kernel, constants in both:
        names = kernel.arg_names
        given = {n: v for n, v in (constants | {"IS_RANGE": is_range}).items() if n in names}
        kinds = {n: "constexpr" if n in given else KINDS.get(n, "i32") for n in names}
        source = ASTSource(kernel, kinds, {(names.index(n),): v for n, v in given.items()})
        for capability in (80, 90):
            target = GPUTarget("cuda", capability, 32)
            options = {"num_warps": 1, "enable_fp_fusion": True}
            made = compile(source, target=target, options=options)
            print(capability, len(made.asm["cubin"]))
"""


@pytest.mark.slow
def test_the_compiler_takes_them_for_two_gpus(tmp_path):
    script = tmp_path / "compile_kernels.py"
    script.write_text(COMPILE, encoding="utf-8")
    env = {n: v for n, v in os.environ.items() if n != "TRITON_INTERPRET"}
    env["TRITON_CACHE_DIR"] = str(tmp_path)
    run = subprocess.run(
        [sys.executable, str(script)], env=env, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    lines = [line.split() for line in run.stdout.splitlines()]
    assert [line[0] for line in lines] == ["80", "90"] * 4
    assert all(int(line[1]) > 0 for line in lines)
