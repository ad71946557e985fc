"""Reading layers over a wide vocabulary on a GPU: what is beside the bare matrix product.

The shapes are those of a 7B model in bfloat16; weights and states are random, no model is loaded.
Ranks of 32 tokens within text and within speech (**ranks**); these, the mass of each modality,
entropy, and the ten highest tokens of each (**all**), with each kernel of the readout ("triton" is
what a GPU takes by itself where it works). The floor, **product**, is the library's product of all
states with all weights, bfloat16 with float32 results, in the same tiles. The fastest of some runs
counts; memory is what torch held at most beyond weights and states. At the end: how many ranks the
two kernels do not agree on (near-ties may be rounded otherwise), and by how much the logits at the
places of the ten highest differ.

No GPU was at hand when this was written, so there are no figures of ours. A person with one runs:

    python -m pytest -m gpu                # is it right?
    python benchmarks/readout_cuda.py      # is it fast?
"""

import argparse
import sys
from collections.abc import Callable
from typing import Any

N_UNITS, N_TARGETS, TOP, N_RUNS, WIDTH = 500, 32, 10, 5, 26


def make(options: argparse.Namespace) -> dict[str, Any]:
    """What `read_out` takes: states, weights, parts."""
    import torch

    from slm_lens.readout.parts import VocabParts
    from slm_lens.readout.unembedding import Unembedding

    generator = torch.Generator("cuda").manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(
            *shape, generator=generator, device="cuda", dtype=getattr(torch, options.dtype)
        )

    part_of = torch.zeros(options.d_vocab, dtype=torch.int64)
    part_of[-N_UNITS - 2 : -2], part_of[-2:] = 1, 2
    names = ("text", "units", "other")
    subsets = {"text": ("text",), "speech": ("units",), "full": names}
    return {
        "states": normal(options.layers + 1, options.positions, options.d_model),
        "unembedding": Unembedding(normal(options.d_vocab, options.d_model) / 40),
        "parts": VocabParts(part_of, names, subsets),
    }


def ways(given: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    """The floor, and each kernel asked for each thing."""
    import torch

    from slm_lens.readout._device import kernel_for, tile_size
    from slm_lens.readout.read_out import read_out
    from slm_lens.readout.wanted import Wanted

    states, unembedding = given["states"].flatten(0, 1), given["unembedding"]
    device = unembedding.weight.device
    size = tile_size(device)
    out = torch.empty(size.rows, size.columns, device=device)

    @torch.no_grad()
    def product() -> None:
        for rows in states.split(size.rows):
            for first in range(0, unembedding.d_vocab, size.columns):
                weights = unembedding.rows(slice(first, first + size.columns), rows.dtype)
                n, c = len(rows), len(weights.weight)
                weights.logits(rows, out=out.view(-1)[: n * c].view(n, c))

    targets = torch.linspace(0, unembedding.d_vocab - 3, N_TARGETS).long()
    within = ("text", "speech")
    asked = {
        "ranks": Wanted(frozenset({"rank"}), targets, within),
        "all": Wanted(frozenset({"rank", "mass", "entropy", "top_k"}), targets, within, TOP),
    }

    def reader(kernel: Any, wanted: Wanted) -> Callable[[], Any]:
        return lambda: read_out(**given, wanted={"position": wanted}, kernel=kernel)["position"]

    kernels = ["triton", "tiled"] if kernel_for(device) == "triton" else ["tiled"]
    found: dict[str, Callable[[], Any]] = {"product": product}
    for kernel in kernels:
        found |= {f"{kernel}, {name}": reader(kernel, w) for name, w in asked.items()}
    return found


def measure(run: Callable[[], Any]) -> tuple[float, float]:
    """Milliseconds and 10^6 bytes."""
    import torch

    run()  # compiles kernels
    torch.cuda.synchronize()
    held = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(N_RUNS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return min(times), (torch.cuda.max_memory_allocated() - held) / 1e6


def main() -> None:
    """Measure each way and print the table."""
    parser = argparse.ArgumentParser(description="Reading layers over a wide vocabulary on a GPU.")
    parser.add_argument("--d-model", type=int, default=3584)
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--d-vocab", type=int, default=152_000)
    parser.add_argument("--positions", type=int, default=512)
    parser.add_argument("--dtype", choices=["bfloat16", "float16", "float32"], default="bfloat16")
    options = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        sys.exit(
            "readout_cuda: got no CUDA device, expected one: this measures a GPU. On a CPU run "
            "benchmarks/readout.py. (Is torch built for CUDA? Does nvidia-smi list a GPU?)"
        )
    print(
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}; d_model {options.d_model}, "
        f"{options.layers + 1} layers, {options.d_vocab} tokens, {options.positions} positions, "
        f"{options.dtype}, {N_TARGETS} targets"
    )
    print(f"{'':<{WIDTH}}{'ms':>9}{'to product':>12}{'extra MB':>10}")
    readers = ways(make(options))
    floor = None
    for name, run in readers.items():
        milliseconds, extra_mb = measure(run)
        floor = floor or milliseconds
        print(
            f"{name:<{WIDTH}}{milliseconds:>9.1f}{milliseconds / floor:>12.2f}{extra_mb:>10.0f}",
            flush=True,
        )
    if "triton, all" in readers:
        one, other = readers["triton, all"](), readers["tiled, all"]()
        n_other = sum(int((one.rank[s] != other.rank[s]).sum()) for s in one.rank)
        n_all = sum(one.rank[s].numel() for s in one.rank)
        gap = (one.top_k["text"].logits - other.top_k["text"].logits).abs().max().item()
        print(f"ranks that differ between kernels: {n_other} of {n_all}; highest logits: {gap:.2g}")


if __name__ == "__main__":
    main()
