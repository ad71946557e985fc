"""Scores of all nodes of a pair of runs by attribution patching, side by side in one run.

* **slm-lens**: `attribute_nodes`: embeddings, heads and MLPs at every position.
* **transformer-lens**: ``tools.analysis.attribution_patching.attribution_patch``, the same nodes.
* **runs alone**: the Hugging Face model with its fused attention, forward on both runs, logits of
  the last position, backward from their difference to the embeddings; nothing is scored. What no
  way can go below.

Both ways run the model forward twice and backward once; "scoring" is the time between these runs
and the scores, where they differ most: one product for each layer, or one for each node. The
largest difference of their scores is printed as a share of the largest score.

A random Qwen2 with grouped queries; each way in a process of its own, one thread. Memory: the peak
of the process above what it held before, as the kernel counts it (``VmHWM``, Linux). Numbers are
for comparison within one run on a quiet machine; nothing is asserted on them.

    python benchmarks/attribution.py           # d_model 256, 28 layers, 152k rows, 512 positions
    python benchmarks/attribution.py --small   # seconds, to see that it runs
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

LARGE = Size(d_model=256, n_layers=28, d_vocab=152_000, n_positions=512)
SMALL = Size(d_model=32, n_layers=2, d_vocab=2_000, n_positions=32)
N_HEADS = 8
ANSWER, FOIL = 11, 12


def make_pair(size: Size) -> Any:
    """Two runs of random units, of equal length."""
    import torch

    from slm_lens.interventions.pairs.run_pair import RunPair, SpanMatch
    from slm_lens.sequence.sequence import SpeechTextSequence

    generator = torch.Generator().manual_seed(0)
    n, first = size.n_positions, size.d_vocab - N_UNITS - 2
    clean, corrupted = (
        SpeechTextSequence(
            first + torch.randint(N_UNITS, (n,), generator=generator), ("speech",) * n, ()
        )
        for _ in range(2)
    )
    whole = SpanMatch("all", "changed", (0, n), (0, n))
    return RunPair("random", clean, corrupted, (ANSWER,), (FOIL,), (whole,))


def timed(module: Any, name: str, spent: list[float]) -> None:
    """Adds up how long a function of a module takes."""
    function = getattr(module, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        result = function(*args, **kwargs)
        spent.append(time.perf_counter() - start)
        return result

    setattr(module, name, call)


def with_slm_lens(model: Any, pair: Any, spent: list[float]) -> Callable[[], dict[str, float]]:
    """Scores by node and position."""
    from slm_lens.interventions.attribution import nodes
    from slm_lens.interventions.metrics import logit_difference

    timed(nodes, "_contract", spent)

    def run() -> dict[str, float]:
        found = nodes.attribute_nodes(model, [pair], logit_difference(), progress=False)
        rows = zip(found.sites, found.summed(0, "positions").tolist(), strict=True)
        return {
            f"{site.label} {i}": score
            for site, scores in rows
            if site.kind != "resid_pre" or not site.layer
            for i, score in enumerate(scores)
        }

    return run


def with_transformer_lens(
    model: Any, pair: Any, spent: list[float]
) -> Callable[[], dict[str, float]]:
    """The same, under the same names."""
    from transformer_lens.tools.analysis import attribution_patching

    timed(attribution_patching, "_node_effects", spent)

    def name(node: Any) -> str:
        part = {
            "embed": "L0 resid_pre",
            "attn_head_out": f"L{node.layer}H{node.head} z",
            "mlp_out": f"L{node.layer} mlp_out",
        }
        return f"{part[node.kind]} {node.position}"

    def run() -> dict[str, float]:
        found = attribution_patching.attribution_patch(
            model,
            pair.clean.tokens[None],
            pair.corrupted.tokens[None],
            lambda logits: logits[0, -1, ANSWER] - logits[0, -1, FOIL],
        )
        return {name(node): score for node, score in found.node_scores.items()}

    return run


def runs_alone(model: Any, pair: Any, _spent: list[float]) -> Callable[[], dict[str, float]]:
    """No scores."""
    import torch

    def run() -> dict[str, float]:
        with model.plain_forward.lent() as (hf_model, _):
            with torch.no_grad():
                hf_model(pair.clean.tokens[None], logits_to_keep=1, use_cache=False)
            embeddings = hf_model.get_input_embeddings()(pair.corrupted.tokens[None])
            given = embeddings.detach().requires_grad_()
            logits = hf_model(inputs_embeds=given, logits_to_keep=1, use_cache=False).logits
            torch.autograd.grad(logits[0, -1, ANSWER] - logits[0, -1, FOIL], given)
        return {}

    return run


WAYS = {
    "slm-lens": with_slm_lens,
    "transformer-lens": with_transformer_lens,
    "runs alone": runs_alone,
}


def measure(way: str, size: Size, scores: Path) -> dict[str, float]:
    """Seconds and extra memory of one way, in this process; its scores go to a file."""
    model, pair = make_model(size, n_heads=N_HEADS, mlp_ratio=3), make_pair(size)
    WAYS[way](model, make_pair(replace(size, n_positions=4)), [])()  # first use is not measured
    spent: list[float] = []
    run = WAYS[way](model, pair, spent)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # VmHWM starts again
    held = memory_mb("VmRSS")
    start = time.perf_counter()
    found = run()
    seconds = time.perf_counter() - start
    scores.write_text(json.dumps(found), encoding="utf-8")
    return {
        "seconds": seconds,
        "scoring": sum(spent),
        "extra_mb": memory_mb("VmHWM") - held,
    }


def difference(one: Path, other: Path) -> float:
    """Largest difference of two ways' scores, as a share of the largest score."""
    a, b = (json.loads(path.read_text(encoding="utf-8")) for path in (one, other))
    assert a.keys() == b.keys()
    return max(abs(a[k] - b[k]) for k in a) / max(map(abs, b.values()))


def main() -> None:
    """Measure each way in a process of its own, and print the table."""
    import tempfile

    parser = argparse.ArgumentParser(description="Scores of all nodes, two ways.")
    parser.add_argument("--small", action="store_true", help="sizes that take seconds")
    parser.add_argument("--way", choices=list(WAYS), help="one way, as JSON")
    parser.add_argument("--scores", type=Path, help="file for the scores of that way")
    options = parser.parse_args()
    size = SMALL if options.small else LARGE
    if options.way is not None:
        print(json.dumps(measure(options.way, size, options.scores)))
        return
    n_nodes = size.n_positions * (1 + size.n_layers * (N_HEADS + 1))
    print(
        f"d_model {size.d_model}, {size.n_layers} layers, {N_HEADS} heads, {size.d_vocab} rows, "
        f"{size.n_positions} positions, {n_nodes} nodes, 1 thread"
    )
    print(f"{'':<17}{'seconds':>9}{'scoring s':>11}{'extra MB':>10}{'ratio':>8}{'scoring':>9}")
    own: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = {way: Path(folder) / f"{way}.json" for way in WAYS}
        for way, scores in files.items():
            command = [sys.executable, __file__, "--way", way, "--scores", str(scores)]
            command += ["--small"] if options.small else []
            run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found: dict[str, float] = json.loads(run.stdout)
            own = own or found
            print(
                f"{way:<17}{found['seconds']:>9.3f}{found['scoring']:>11.3f}"
                f"{found['extra_mb']:>10.0f}{found['seconds'] / own['seconds']:>8.2f}"
                f"{found['scoring'] / own['scoring']:>9.1f}"
            )
        gap = difference(files["slm-lens"], files["transformer-lens"])
        print(f"largest difference of scores: {gap:.1e} of the largest")


if __name__ == "__main__":
    main()
