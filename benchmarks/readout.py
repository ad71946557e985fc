"""Reading layers over a wide vocabulary: ranks, mass, entropy and the highest tokens, side by side.

What is asked for, at every layer (embeddings and after each block) and position:

* **ranks**: of 32 target tokens, within text and within speech;
* **all**: these, the mass of each modality, entropy, and the ten highest tokens of each.

Ways:

* **product**: the bare matrix product of all states with the unembedding, 512 rows at a time, into
  memory that is there already: the floor (a layer of 64 positions at a time is slower);
* **slm-lens**: ``LogitLens.readout``;
* **transformer-lens**: ``tools.analysis.logit_lens``, which ranks within everything only; the ten
  highest tokens of everything take another call, and mass is not to be had. Its form for one target
  at each position, called 32 times, is a way of its own (``--ways transformer-lens-per-row``, many
  minutes);
* **materialised**: a layer's logits whole, then ranks, softmax and top-k of them, as a plain loop
  over Hugging Face's hidden states does it.

A random Qwen2 in float32. The forward pass is not timed: each way gets the residual stream. Each
way in a process of its own with all cores; the first of its runs is not timed, of the others the
fastest counts, but of ways that take more than 20 seconds the first does. Memory: peak resident
size above what the process held (``VmHWM``, Linux). Numbers are for comparison within one run on a
quiet machine; nothing is asserted on them.

    python benchmarks/readout.py           # d_model 896, 25 layers, 64 positions, 152k tokens
    python benchmarks/readout.py --positions 512 --ways product slm-lens
    python benchmarks/readout.py --small   # seconds, to see that it runs
    python benchmarks/readout.py --nnsight # another table: nnsight's documented pattern
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from random_slm import N_UNITS, Size, make_model, memory_mb

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers

N_TARGETS, TOP, N_ROWS, SLOW_S, N_RUNS, WIDTH = 32, 10, 512, 20.0, 3, 30


LARGE = Size(d_model=896, n_layers=24, d_vocab=152_000, n_positions=64)
SMALL = Size(d_model=64, n_layers=2, d_vocab=4_000, n_positions=16)


def make_targets(size: Size) -> Any:
    """Three quarters of them text, the others units."""
    import torch

    generator = torch.Generator().manual_seed(1)
    n_text = size.d_vocab - N_UNITS - 2
    text = torch.randint(n_text, (3 * N_TARGETS // 4,), generator=generator)
    units = n_text + torch.randint(N_UNITS, (N_TARGETS // 4,), generator=generator)
    return torch.cat([text, units])


@dataclass(frozen=True)
class Given:
    """What every way starts from."""

    model: Any
    cache: Any
    stack: Any
    targets: Any


def product(given: Given) -> dict[str, Callable[[], Any]]:
    """The floor."""
    import torch

    W_U, rows = given.model.W_U.detach(), given.stack.flatten(0, 2)
    out = torch.empty(N_ROWS, W_U.shape[1])

    @torch.no_grad()
    def run() -> None:
        for states in rows.split(N_ROWS):
            torch.mm(states, W_U, out=out[: len(states)])

    return {"product": run}


def with_slm_lens(given: Given) -> dict[str, Callable[[], Any]]:
    """One pass."""
    from slm_lens import LogitLens

    lens, stack, targets = LogitLens(given.model), given.stack, given.targets
    each = ("text", "speech")
    return {
        "slm-lens, ranks": lambda: lens.readout(stack, "rank", targets=targets, within=each),
        "slm-lens, all": lambda: lens.readout(
            stack, "rank", "mass", "entropy", "top_k", targets=targets, within=each, k=TOP
        ),
    }


def with_transformer_lens(given: Given) -> dict[str, Callable[[], Any]]:
    """Ranks within everything, entropy; the highest tokens in a second call."""
    from transformer_lens.tools.analysis import logit_lens

    model, cache = given.model, given.cache

    def read(**options: Any) -> Any:
        return logit_lens(model, cache=cache, positions=None, **options)

    return {
        "transformer-lens, ranks": lambda: read(targets=given.targets.tolist()),
        "transformer-lens, top 10": lambda: read(top_k=TOP),
    }


def with_transformer_lens_per_row(given: Given) -> dict[str, Callable[[], Any]]:
    """One call for each target."""
    from transformer_lens.tools.analysis import logit_lens

    rows = given.stack.shape[1:3]

    def run() -> Any:
        return [
            logit_lens(given.model, cache=given.cache, positions=None, targets=t.expand(rows))
            for t in given.targets
        ]

    return {"transformer-lens, per row": run}


def materialised(given: Given) -> dict[str, Callable[[], Any]]:
    """All logits of a layer first."""
    import torch

    model, targets = given.model, given.targets
    masks = {m: model.vocab.mask(m) for m in ("text", "speech")}
    bounds = {m: (int(v.nonzero()[0]), int(v.nonzero()[-1]) + 1) for m, v in masks.items()}

    def ranks(logits: Any) -> list[Any]:
        best = logits[:, targets]
        found = []
        for first, end in bounds.values():
            within = logits[:, first:end]
            found.append(torch.stack([(within > t[:, None]).sum(1) + 1 for t in best.T], 1))
        return found

    def rest(logits: Any) -> list[Any]:
        log_p = logits.log_softmax(-1)
        p = log_p.exp()
        found = []
        for first, end in bounds.values():
            own = logits[:, first:end].log_softmax(-1)
            found += [p[:, first:end].sum(1), -(own.exp() * own).sum(1)]
            found.append(logits[:, first:end].topk(TOP))
        return found

    def loop(*readers: Callable[[Any], Any]) -> Callable[[], Any]:
        @torch.no_grad()
        def run() -> Any:
            found = []
            for states in given.stack[:, 0]:
                logits = model.ln_final(states[None])[0] @ model.W_U
                found.append([reader(logits) for reader in readers])
            return found

        return run

    return {"materialised, ranks": loop(ranks), "materialised, all": loop(ranks, rest)}


WAYS = {
    "product": product,
    "slm-lens": with_slm_lens,
    "materialised": materialised,
    "transformer-lens": with_transformer_lens,
    "transformer-lens-per-row": with_transformer_lens_per_row,
}
DEFAULT = ("product", "slm-lens", "materialised", "transformer-lens")


def measure(way: str, size: Size) -> dict[str, dict[str, float]]:
    """Seconds and extra memory of the runs of one way, in this process."""
    import torch

    from slm_lens import residual_stack

    model = make_model(size, n_heads=size.d_model // 32, mlp_ratio=2)
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randint(size.d_vocab, (1, size.n_positions), generator=generator)
    cache = None
    if way.startswith("transformer-lens"):
        with torch.no_grad():
            _, cache = model.run_with_cache(tokens, logits_to_keep=1)
    given = Given(model, cache, residual_stack(model, tokens), make_targets(size))
    figures = {}
    for name, run in WAYS[way](given).items():
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # VmHWM starts again
        held, times = memory_mb("VmRSS"), []
        for _ in range(N_RUNS + 1):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
            if times[0] > SLOW_S:
                break
        best = min(times[1:] or times)
        figures[name] = {"seconds": best, "extra_mb": memory_mb("VmHWM") - held}
    return figures


def with_nnsight(size: Size) -> None:
    """nnsight's documented lens (every layer's highest token), beside ours asked for the same."""
    import nnsight  # pyright: ignore[reportMissingImports] (not a dependency)
    import torch

    from slm_lens import LogitLens, residual_stack

    model = make_model(size, n_heads=size.d_model // 32, mlp_ratio=2)
    tokens = torch.randint(size.d_vocab, (1, size.n_positions))
    lens = LogitLens(model)

    def ours() -> Any:
        stack = residual_stack(model, tokens)
        return lens.readout(stack, "top_k", within=("full",), k=1)

    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_config(model.original_model.config).eval()
    traced = nnsight.NNsight(plain)

    def theirs() -> Any:
        with torch.no_grad(), traced.trace(tokens):
            probs_layers = nnsight.save([])
            for layer in traced.model.layers:
                out = layer.output
                hidden = out[0] if isinstance(out, tuple) else out
                logits = traced.lm_head(traced.model.norm(hidden))
                probs: Any = torch.nn.functional.softmax(logits, dim=-1).max(dim=-1)
                probs_layers.append(probs)
        return probs_layers

    print(f"nnsight {nnsight.__version__}; forward pass included")
    for name, run in (("slm-lens", ours), ("nnsight", theirs)):
        run()
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        held, start = memory_mb("VmRSS"), time.perf_counter()
        run()
        print(
            f"{name:<{WIDTH}}{time.perf_counter() - start:>9.2f} s"
            f"{memory_mb('VmHWM') - held:>9.0f} MB"
        )


def main() -> None:
    """Measure each way in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(description="Reading layers over a wide vocabulary.")
    parser.add_argument("--small", action="store_true", help="sizes that take seconds")
    parser.add_argument("--positions", type=int, help="positions, instead of 64")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=DEFAULT)
    parser.add_argument("--way", choices=list(WAYS), help="one way, as JSON")
    parser.add_argument("--nnsight", action="store_true", help="compare with nnsight, if installed")
    options = parser.parse_args()
    size = SMALL if options.small else LARGE
    if options.positions:
        size = Size(**asdict(size) | {"n_positions": options.positions})
    if options.nnsight:
        with_nnsight(size)
        return
    if options.way is not None:
        print(json.dumps(measure(options.way, size)))
        return
    print(
        f"d_model {size.d_model}, {size.n_layers + 1} layers, {size.d_vocab} tokens, "
        f"{size.n_positions} positions, {N_TARGETS} targets, {os.cpu_count()} cores"
    )
    print(f"{'':<{WIDTH}}{'seconds':>9}{'to product':>12}{'extra MB':>10}")
    floor = None
    for way in options.ways:
        command = [sys.executable, __file__, "--way", way, "--positions", str(size.n_positions)]
        command += ["--small"] if options.small else []
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        for name, found in json.loads(run.stdout.splitlines()[-1]).items():
            floor = floor or found["seconds"]
            print(
                f"{name:<{WIDTH}}{found['seconds']:>9.2f}{found['seconds'] / floor:>12.2f}"
                f"{found['extra_mb']:>10.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
