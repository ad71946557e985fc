"""The readout on a GPU. Nobody has run this yet; it is what a person with one runs first."""

from typing import Any

import pytest
import torch

from slm_lens.readout._block import Site
from slm_lens.readout._device import kernel_for
from slm_lens.readout.parts import VocabParts
from slm_lens.readout.read_out import read_out
from slm_lens.readout.unembedding import Unembedding
from slm_lens.readout.wanted import NO_TARGET, Wanted

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="NO GPU: needs a CUDA device"),
]
NAMES = ("text", "units", "other")
SUBSETS = {"text": ("text",), "speech": ("units",), "full": NAMES}
HALF = [torch.bfloat16, torch.float16]


def whole(generator, *shape):
    return torch.randint(-2, 3, shape, generator=generator).float()


def test_the_kernel_is_the_one_that_is_taken_here():
    assert kernel_for(torch.device("cuda", 0)) == "triton"


@pytest.mark.parametrize("kernel", ["triton", "tiled"])
@pytest.mark.parametrize("dtype", [*HALF, torch.float32], ids=str)
def test_whole_numbers_read_as_on_the_cpu(kernel, dtype):
    """Products are exact, so ranks and highest tokens are equal; ids of parts are mixed."""
    generator = torch.Generator().manual_seed(0)
    weight = whole(generator, 20_000, 64).to(dtype)
    parts = VocabParts(torch.randint(3, (20_000,), generator=generator), NAMES, SUBSETS)
    states, spans = whole(generator, 3, 70, 64), torch.tensor([[0, 4], [6, 7], [30, 70]])
    of_words = torch.randint(20_000, (3, 20, 2), generator=generator)
    of_words[1, 3], of_words[2, :, 1] = NO_TARGET, NO_TARGET
    statistics: Any = frozenset({"rank", "log_prob", "mass", "entropy", "top_k"})
    words = Wanted(statistics, of_words, k=12)
    at = Wanted(statistics | {"kl"}, torch.arange(0, 20_000, 641), k=12)
    wanted: dict[Site, Wanted] = {"max": words, "last": words, "position": at}

    def read(where, how):
        given = states.to(where), Unembedding(weight.to(where)), parts, wanted
        return read_out(*given, spans=spans, final=states[-1].to(where), kernel=how)

    on_gpu, on_cpu = read("cuda", kernel), read("cpu", "tiled")
    for site, theirs in on_cpu.items():
        ours = on_gpu[site]
        assert (ours.kernel, ours.product_dtype) == (kernel, str(dtype).removeprefix("torch."))
        for s in SUBSETS:
            assert ours.rank[s].cpu().equal(theirs.rank[s])
            assert ours.top_k[s].ids.cpu().equal(theirs.top_k[s].ids)
            for field in ("log_prob", "entropy", "kl"):
                if s in (expected := getattr(theirs, field)):
                    found = getattr(ours, field)[s].cpu()
                    assert torch.allclose(found, expected[s], atol=1e-4, equal_nan=True)
        for part in NAMES:
            assert torch.allclose(ours.mass[part].cpu(), theirs.mass[part], atol=1e-5)


@pytest.mark.parametrize("kernel", ["triton", "tiled"])
@pytest.mark.parametrize("dtype", [*HALF, torch.float32], ids=str)
def test_rounded_products_change_ranks_only_at_near_ties(kernel, dtype):
    """Torch is set to TF32, which would move logits by 0.01 and ranks with them in float32."""
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(9_000, 512, generator=generator).to(dtype).cuda()
    states = torch.randn(4, 90, 512, generator=generator).to(dtype).float().cuda()
    parts = VocabParts(torch.arange(9_000) * 3 // 9_000, NAMES, SUBSETS)
    targets = torch.randint(9_000, (40,), generator=generator).cuda()
    z = states.double() @ weight.double().T
    above = torch.stack([(z > z[..., [t]]).sum(-1) for t in targets], -1)
    near = torch.stack([((z - z[..., [t]]).abs() < 1e-3).sum(-1) - 1 for t in targets], -1)
    settings = torch.backends.cuda.matmul
    before, settings.allow_tf32 = settings.allow_tf32, True
    try:
        at = Wanted(frozenset({"rank"}), targets)
        read = read_out(states, Unembedding(weight), parts, {"position": at}, kernel=kernel)
        assert settings.allow_tf32
    finally:
        settings.allow_tf32 = before
    rank = read["position"].rank["full"]
    assert ((rank - 1 - above).abs() <= near).all()
    assert (rank - 1 == above).double().mean() > 0.95  # some 160 logits a unit
