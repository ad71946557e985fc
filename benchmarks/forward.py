"""The residual stream of every layer: time and memory of each forward pass, side by side.

* **transformers**: the base model alone, without unembedding: what a forward pass costs at least;
* **transformers, states**: the same with ``output_hidden_states``;
* **slm-lens, fast**: ``residual_stack``, the plain model with SDPA attention, and its check;
* **slm-lens, hooked**: the same through the bridge, which computes attention eagerly;
* **transformer-lens**: ``run_with_cache`` of the residual stream as it comes, with all logits.

A random Qwen2 with a vocabulary of 152,000 in float32. Each way in a process of its own. The first
run is not timed; of the others the fastest counts. Memory: peak resident size above what the
process held with the model loaded (``VmHWM``, Linux), over all runs. Numbers are for comparison
within one run on a quiet machine; nothing is asserted on them.

    python benchmarks/forward.py           # 512 positions, 1 GB of weights
    python benchmarks/forward.py --positions 2048
    python benchmarks/forward.py --small   # seconds, to see that it runs
"""

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers

N_RUNS, N_PROCESSES, WIDTH = 3, 2, 28
WAYS = (
    "transformers",
    "transformers, states",
    "slm-lens, fast",
    "slm-lens, hooked",
    "transformer-lens",
)
SIZES: dict[str, dict[str, Any]] = {
    "large": {
        "vocab_size": 152_000,
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 8,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
    },
    "small": {
        "vocab_size": 1_000,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
}
POSITIONS = {"large": 512, "small": 32}


def make_model(size: str) -> Any:
    """A random model with tied embeddings."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    return Qwen2ForCausalLM(Qwen2Config(**SIZES[size], tie_word_embeddings=True)).eval()


def runner(way: str, hf_model: Any, tokens: Any) -> Callable[[], Any]:
    """A function that runs the model in the given way."""
    if way.startswith("transformers"):
        states = way.endswith("states")
        return lambda: hf_model.model(tokens, use_cache=False, output_hidden_states=states)
    import slm_lens

    units = slm_lens.StreamSpec(offset=0, count=hf_model.config.vocab_size)
    spec = slm_lens.VocabSpec(streams={"units": units}, has_text=False)
    model = slm_lens.load(hf_model, vocab_spec=spec)
    if way == "transformer-lens":
        names = [f"blocks.{i}.hook_resid_post" for i in range(model.cfg.n_layers)]
        return lambda: model.run_with_cache(tokens, names_filter=names)
    forward = "fast" if way.endswith("fast") else "hooked"
    return lambda: slm_lens.residual_stack(model, tokens, forward=forward)


def resident_kib(key: str) -> int:
    """Resident size of this process: now (``VmRSS``) or at its largest (``VmHWM``)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1])


def measure(way: str, size: str, n_positions: int) -> dict[str, float]:
    """A few runs in this process."""
    import torch

    hf_model = make_model(size)
    tokens = torch.arange(n_positions)[None] % SIZES[size]["vocab_size"]
    run = runner(way, hf_model, tokens)
    with torch.no_grad():
        hf_model(tokens[:, :4])  # what a first run sets up is not the pass's own
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts here
        before, seconds = resident_kib("VmRSS"), []
        for _ in range(1 + N_RUNS):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
    return {
        "seconds": min(seconds[1:]),
        "extra": (resident_kib("VmHWM") - before) * 1024 / 1e6,
    }


def main() -> None:
    """Print one row for each way, or measure one in this process."""
    parser = argparse.ArgumentParser(description="Time and memory of a forward pass.")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--positions", type=int)
    parser.add_argument("--measure", nargs=3, metavar=("WAY", "SIZE", "POSITIONS"))
    arguments = parser.parse_args()
    if arguments.measure:
        way, size, n_positions = arguments.measure
        print(json.dumps(measure(way, size, int(n_positions))))
        return
    size = "small" if arguments.small else "large"
    columns = ("seconds", "extra MB", "time ratio", "memory ratio")
    print(" " * WIDTH + "".join(f"{c:>14}" for c in columns))
    n_positions = arguments.positions or POSITIONS[size]
    base: dict[str, float] = {}
    for way in WAYS:
        runs = []
        for _ in range(1 if arguments.small else N_PROCESSES):
            command = [sys.executable, __file__, "--measure", way, size, str(n_positions)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            runs.append(json.loads(done.stdout.splitlines()[-1]))
        best = {key: min(r[key] for r in runs) for key in runs[0]}
        base = base or best
        row = [best["seconds"], best["extra"]]
        row += [best[k] / max(base[k], 1e-9) for k in ("seconds", "extra")]
        cells = "".join(f"{x:>14.{n}f}" for x, n in zip(row, (4, 0, 2, 2), strict=True))
        print(f"{f'{n_positions}, {way}':<{WIDTH}}{cells}", flush=True)


if __name__ == "__main__":
    main()
