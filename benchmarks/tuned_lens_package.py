"""Training of a tuned lens beside the ``tuned-lens`` package's own loop, on the same tokens.

The package (0.2.0) does not know Qwen2, and cannot stand beside transformer-lens 4. So it runs in
an environment of its own, and the embedded organism is given to it as a Llama with biases, which is
the same function (checked). Both train at all positions of rows of 256 tokens, 8 rows a step, Adam
at 1e-3; the package in bfloat16, as its loop has it, ours in float32. One thread each; seconds are
of the processor, since machines are shared.

    python -m venv /tmp/package
    /tmp/package/bin/pip install tuned-lens torchdata==0.9.0
    python benchmarks/tuned_lens_package.py --out runs/package --python /tmp/package/bin/python
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ.update({"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""})

N_ROWS, N_POSITIONS, BATCH_SIZE = 400, 256, 8


def memory_mb(key: str) -> float:
    """A line of this process's status, in 10^6 bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError(f"memory_mb: no {key} in /proc/self/status, expected a Linux kernel.")


def write_inputs(out: Path, corpus: Path, n_stories: int) -> None:
    """Rows of tokens, and the organism as a Llama."""
    import numpy as np
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    import slm_lens
    from slm_lens.organism.lens_corpus import lens_corpus

    model = slm_lens.load("organism")
    stream = lens_corpus(model, corpus, n_stories)
    tokens = torch.cat([s.tokens for number in range(3) for s in stream(number)])
    rows = tokens[: N_ROWS * N_POSITIONS].view(N_ROWS, N_POSITIONS)
    np.save(out / "rows.npy", rows.numpy())
    own = model.original_model
    keys = (
        "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
        "num_attention_heads", "num_key_value_heads", "max_position_embeddings", "rms_norm_eps",
        "rope_parameters", "tie_word_embeddings",
    )  # fmt: skip
    config = LlamaConfig(**{k: getattr(own.config, k) for k in keys}, attention_bias=True)
    twin = LlamaForCausalLM(config).eval()
    weights = {k.replace("._original_component", ""): v for k, v in own.state_dict().items()}
    wanted = {k: v for k, v in weights.items() if k in twin.state_dict()}
    lacking = twin.load_state_dict(wanted, strict=False).missing_keys
    assert all(name.endswith("o_proj.bias") for name in lacking), lacking
    with torch.no_grad():
        for name in lacking:
            twin.get_parameter(name).zero_()
        gap = (twin(rows[:2]).logits - model(rows[:2])).abs().max().item()
    print(f"the organism as a Llama: logits differ by up to {gap:.1e}")
    twin.save_pretrained(out / "llama")


def ours(out: Path) -> dict[str, float]:
    """Our fit."""
    import numpy as np
    import torch

    import slm_lens

    model = slm_lens.load("organism")
    rows = torch.from_numpy(np.load(out / "rows.npy"))
    sequences = [slm_lens.SpeechTextSequence(r, ("text",) * len(r), ()) for r in rows]
    settings = slm_lens.FitSettings(n_steps=N_ROWS // BATCH_SIZE, batch_size=BATCH_SIZE)
    held_mb, start_s = memory_mb("VmRSS"), time.process_time()
    slm_lens.fit_tuned_lens(model, sequences, settings)
    seconds = time.process_time() - start_s
    return {"cpu_seconds": seconds, "extra_mb": memory_mb("VmHWM") - held_mb}


def theirs(out: Path) -> dict[str, float]:
    """The package's ``Train.execute``, with a model and rows that are given."""
    sys.modules["transformer_lens"] = None  # pyright: ignore[reportArgumentType]
    import numpy as np
    import tuned_lens.scripts.ingredients as ing  # pyright: ignore[reportMissingImports]
    from datasets import Dataset  # pyright: ignore[reportMissingImports]
    from transformers import LlamaForCausalLM
    from tuned_lens.scripts.train_loop import Train  # pyright: ignore[reportMissingImports]

    rows = np.load(out / "rows.npy")
    model = LlamaForCausalLM.from_pretrained(out / "llama").eval().requires_grad_(False)

    class Model(ing.Model):
        def load(self, *_: Any, **__: Any) -> Any:
            return model, object()

    class Data(ing.Data):
        def load(self, *_: Any) -> Any:
            return Dataset.from_dict({"input_ids": rows}).with_format("torch"), 1.0

    train = Train(
        model=Model(name="organism"),
        data=Data(),
        opt=ing.Optimizer(optimizer=ing.OptimizerOption.ADAM, weight_decay=0.0),
        dist=ing.Distributed(per_gpu_batch_size=BATCH_SIZE),
        output=out / "lens",
        num_steps=N_ROWS // BATCH_SIZE,
        tokens_per_step=BATCH_SIZE * N_POSITIONS,
    )
    held_mb, start_s = memory_mb("VmRSS"), time.process_time()
    train.execute()
    seconds = time.process_time() - start_s
    return {"cpu_seconds": seconds, "extra_mb": memory_mb("VmHWM") - held_mb}


def main() -> None:
    """Write the inputs, train twice, print."""
    parser = argparse.ArgumentParser(description="Training beside the tuned-lens package.")
    parser.add_argument("--out", type=Path, required=True, help="folder for inputs and results")
    parser.add_argument("--python", type=Path, help="interpreter that has the package")
    parser.add_argument("--corpus", type=Path, help="stories that are spoken already (.npz)")
    parser.add_argument("--stories", type=int, default=500, help="how many they are")
    parser.add_argument("--way", choices=["ours", "theirs"], help="one of them, and no more")
    options = parser.parse_args()
    out: Path = options.out
    if options.way is not None:
        found = {"ours": ours, "theirs": theirs}[options.way](out)
        (out / f"{options.way}.json").write_text(json.dumps(found), encoding="utf-8")
        return
    out.mkdir(parents=True, exist_ok=True)
    write_inputs(out, options.corpus or out / "corpus.npz", options.stories)
    n_tokens = N_ROWS * N_POSITIONS
    print(f"{n_tokens} tokens, {N_ROWS // BATCH_SIZE} steps, one thread\n")
    print(f"{'':<12}{'CPU s':>8}{'+MB':>8}")
    results = {}
    # -P: beside this file there is another tuned_lens.
    for way, python in (("ours", Path(sys.executable)), ("theirs", options.python)):
        command = [str(python), "-P", __file__, "--out", str(out), "--way", way]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        results[way] = found = json.loads((out / f"{way}.json").read_text(encoding="utf-8"))
        print(f"{way:<12}{found['cpu_seconds']:>8.1f}{found['extra_mb']:>8.0f}")
    ratios = [results["ours"][key] / results["theirs"][key] for key in ("cpu_seconds", "extra_mb")]
    print(f"{'ours/theirs':<12}" + "".join(f"{r:>8.2f}" for r in ratios))


if __name__ == "__main__":
    main()
