"""A small readout with both kernels, before the Triton kernel is trusted on a device.

Weights and states are whole numbers, so products are exact and ranks and highest tokens equal.
"""

import subprocess

import torch
from triton.errors import TritonError  # pyright: ignore[reportMissingImports]

from slm_lens.readout._block import Site
from slm_lens.readout._device import Kernel
from slm_lens.readout.parts import VocabParts
from slm_lens.readout.read_out import read_out
from slm_lens.readout.unembedding import Unembedding
from slm_lens.readout.wanted import STATISTICS, Readout, Wanted

_TOLERANCE = 1e-4  # of sums; 1e-6 seen in the interpreter


def failures() -> tuple[type[Exception], ...]:
    """What a kernel that cannot be compiled or launched raises."""
    of_python = (AssertionError, AttributeError, ImportError, NotImplementedError, OSError)
    of_torch = (RuntimeError, TypeError, ValueError, subprocess.SubprocessError)
    return (*of_python, *of_torch, TritonError)


def differences(device: torch.device) -> list[str]:
    """What the two kernels do not agree on.

    Args:
        device: where to read.

    Returns:
        Names of statistics; empty if they agree on all.
    """
    generator = torch.Generator().manual_seed(0)

    def whole(*shape: int) -> torch.Tensor:
        return torch.randint(-2, 3, shape, generator=generator).float().to(device)

    d_vocab, names = 2500, ("text", "units", "other")
    part_of = torch.randint(1, 3, (d_vocab,), generator=generator)
    part_of[:1100] = 0  # ids that follow one another, and others
    parts = VocabParts(part_of, names, {n: (n,) for n in names})
    states, unembedding = whole(3, 7, 32), Unembedding(whole(d_vocab, 32))
    targets = torch.randint(d_vocab, (5,), generator=generator)
    wanted: dict[Site, Wanted] = {
        "position": Wanted(frozenset(STATISTICS), targets, k=7),
        "max": Wanted(frozenset({"rank"}), targets[None, :, None]),
    }

    def read(kernel: Kernel) -> dict[Site, Readout]:
        return read_out(
            states,
            unembedding,
            parts,
            wanted,
            spans=torch.tensor([[2, 6]]),
            final=states[-1],
            kernel=kernel,
            rows=16,
            tile_columns=2048,
        )

    ours, expected = read("triton"), read("tiled")
    found = [x for site in wanted for x in _unlike(ours[site], expected[site])]
    return sorted(set(found))


def _unlike(one: Readout, other: Readout) -> list[str]:
    found = []
    for statistic in STATISTICS:
        theirs = getattr(other, statistic)
        pairs = [(getattr(one, statistic)[name], theirs[name]) for name in theirs]
        if statistic == "top_k":
            same = all(a.ids.equal(b.ids) and a.logits.equal(b.logits) for a, b in pairs)
        else:
            close = 0.0 if statistic == "rank" else _TOLERANCE
            same = all(torch.allclose(a, b, close, close, equal_nan=True) for a, b in pairs)
        found += [] if same else [statistic]
    return found
