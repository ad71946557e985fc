"""A full residual sweep, layer by position: ours and transformer-lens', side by side in one run.

Two runs of units that differ in one token; at every layer and position the clean run's state goes
into the corrupted run, and the logit difference of two tokens is read.

* **slm-lens**: `patch_pairs` over single positions: batches that begin at the patched block and
  position, and two rows of the unembedding. The recording of both runs is in its time.
* **transformer-lens**: `patching.get_act_patch_resid_pre`, one whole forward pass for each cell;
  the clean run's cache is in its time.

Random models of two shapes: *wide*, where most of a forward pass is the unembedding, and *deep*,
where it hardly counts. Each way in a process of its own, one thread. Memory: the peak of the
process above what it held before, as the kernel counts it (``VmHWM``, Linux); ours was given the
budget that is printed, on top of the recorded runs. The largest difference between both ways'
numbers is printed. Numbers are for comparison within one run on a quiet machine; nothing is
asserted on them.

    python benchmarks/patching.py           # ten minutes, nearly all of it transformer-lens'
    python benchmarks/patching.py --small   # seconds, to see that it runs
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from random_slm import N_UNITS, Size, make_model, memory_mb

os.environ.update({"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"})  # before torch

BUDGET_MB = 64.0
ANSWER, FOIL = 1, 2
SIZES = {
    "wide": Size(d_model=256, n_layers=8, d_vocab=152_000, n_positions=64),
    "deep": Size(d_model=512, n_layers=12, d_vocab=2_000, n_positions=128),
}
SMALL = {
    "wide": Size(d_model=32, n_layers=2, d_vocab=5_000, n_positions=12),
    "deep": Size(d_model=64, n_layers=4, d_vocab=700, n_positions=16),
}


def make_pair(size: Size) -> Any:
    """Two runs of random units; one in the first quarter differs."""
    import torch

    import slm_lens

    first = size.d_vocab - N_UNITS - 2
    generator = torch.Generator().manual_seed(0)
    clean = first + torch.randint(N_UNITS, (size.n_positions,), generator=generator)
    corrupted = clean.clone()
    place = size.n_positions // 4
    corrupted[place] = first + (clean[place] - first + 1) % N_UNITS
    runs = [
        slm_lens.SpeechTextSequence(tokens, ("speech",) * size.n_positions, ())
        for tokens in (clean, corrupted)
    ]
    whole = (0, size.n_positions)
    match = slm_lens.SpanMatch("<all>", "changed", whole, whole)
    return slm_lens.RunPair("random", runs[0], runs[1], (ANSWER,), (FOIL,), (match,))


def with_slm_lens(model: Any, pair: Any) -> Callable[[], list[float]]:
    """The sweep by position."""
    import slm_lens

    def run() -> list[float]:
        found = slm_lens.patch_pairs(
            model,
            [pair],
            metrics=[slm_lens.logit_difference()],
            at="positions",
            memory_mb=BUDGET_MB,
            progress=False,
        )
        return found.table["patched"].to_list()

    return run


def with_transformer_lens(model: Any, pair: Any) -> Callable[[], list[float]]:
    """The same, one forward pass a cell."""
    import torch
    from transformer_lens import patching

    def metric(logits: Any) -> Any:
        return logits[0, -1, ANSWER] - logits[0, -1, FOIL]

    @torch.no_grad()
    def run() -> list[float]:
        _, cache = model.run_with_cache(pair.clean.tokens[None])
        tokens = pair.corrupted.tokens[None]
        return patching.get_act_patch_resid_pre(model, tokens, cache, metric).flatten().tolist()

    return run


WAYS = {"slm-lens": with_slm_lens, "transformer-lens": with_transformer_lens}


def measure(way: str, size: Size) -> dict[str, Any]:
    """Seconds, extra memory and numbers of one way, in this process."""
    model, pair = make_model(size, n_heads=4, mlp_ratio=4), make_pair(size)
    WAYS[way](model, make_pair(replace(size, n_positions=4)))()  # first use is not measured
    run = WAYS[way](model, pair)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # VmHWM starts again
    held = memory_mb("VmRSS")
    start = time.perf_counter()
    values = run()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "extra_mb": memory_mb("VmHWM") - held, "values": values}


def main() -> None:
    """Measure each way in a process of its own, and print a table for each shape."""
    parser = argparse.ArgumentParser(description="A residual sweep, two ways.")
    parser.add_argument("--small", action="store_true", help="sizes that take seconds")
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "SHAPE"), help="one, as JSON")
    options = parser.parse_args()
    sizes = SMALL if options.small else SIZES
    if options.measure is not None:
        way, shape = options.measure
        print(json.dumps(measure(way, sizes[shape])))
        return
    for shape, size in sizes.items():
        print(
            f"{shape}: d_model {size.d_model}, {size.n_layers} layers, {size.d_vocab} rows, "
            f"{size.n_layers * size.n_positions} cells, budget {BUDGET_MB:.0f} MB, 1 thread"
        )
        print(f"{'':<17}{'seconds':>9}{'extra MB':>10}{'time ratio':>12}{'difference':>12}")
        own: dict[str, Any] = {}
        for way in WAYS:
            command = [sys.executable, __file__, "--measure", way, shape]
            command += ["--small"] if options.small else []
            run = subprocess.run(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
            )
            found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
            own = own or found
            gap = max(abs(a - b) for a, b in zip(found["values"], own["values"], strict=True))
            print(
                f"{way:<17}{found['seconds']:>9.2f}{found['extra_mb']:>10.0f}"
                f"{found['seconds'] / own['seconds']:>12.2f}{gap:>12.1e}"
            )


if __name__ == "__main__":
    main()
