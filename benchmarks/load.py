"""Loading a checkpoint: with and without its tokenizer, side by side in one run.

Weights alone:

* **transformers**: ``AutoModelForCausalLM.from_pretrained``;
* **slm-lens**: ``slm_lens.load`` with the same weights described as a unit model without text.

Weights and the tokenizer, as anybody needs who reads words:

* **transformers**: and ``AutoTokenizer.from_pretrained``;
* **transformer-lens**: ``TransformerBridge.boot_transformers``;
* **slm-lens**: ``slm_lens.load`` of the same weights in slamkit's layout, text tokenizer apart.

A random Qwen2 with the vocabulary of SIMS-7B, in bfloat16, in shards, with a byte-level tokenizer
of 151,665 tokens. Each way in a process of its own, after its imports; the files are in the page
cache. Two times, because what keeps its dtype is only mapped to the file and read when it is used:
until the call is back, and until the logits of 32 tokens are there. Memory: peak resident size of
the process above what it held before (``VmHWM``, Linux), mapped files included and every weight
read, as a multiple of the weights' size in the dtype that was asked for, and what is beyond the
weights in MB: most of that is the tokenizer, which does not grow with the model. Numbers are for
comparison within one run on a quiet machine; nothing is asserted on them.

    python benchmarks/load.py           # 1 GB of weights
    python benchmarks/load.py --small   # a minute, to see that it runs
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers

N_UNITS, N_RUNS, WIDTH = 500, 3, 44
# Way, and whether it is what the ways after it are compared with.
WAYS = {
    "weights: transformers": True,
    "weights: slm-lens": False,
    "with tokenizer: transformers": True,
    "with tokenizer: transformer-lens": False,
    "with tokenizer: slm-lens": False,
}
SIZES = {
    "large": {"n_tokens": 151_643, "hidden_size": 1024, "num_hidden_layers": 16},
    "small": {"n_tokens": 1_000, "hidden_size": 64, "num_hidden_layers": 2},
}


def make_tokenizer(n_tokens: int) -> Any:
    """Byte-level BPE with random merges, and 22 special tokens as Qwen2.5 has."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    draw = random.Random(0)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pool = [c for c in alphabet if c.isascii() and c.isalpha()] + ["Ġ"]
    vocab, merges = {c: i for i, c in enumerate(alphabet)}, []
    while len(vocab) < n_tokens:
        left, right = draw.choice(pool), draw.choice(pool)
        if len(left + right) <= 10 and not right.startswith("Ġ") and left + right not in vocab:
            vocab[left + right] = len(vocab)
            merges.append((left, right))
            pool.append(left + right)
    backend = Tokenizer(models.BPE(vocab, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|endoftext|>")
    tokenizer.add_special_tokens({"extra_special_tokens": [f"<|s{i}|>" for i in range(21)]})
    return tokenizer


def write_checkpoints(folder: Path, size: dict[str, int]) -> None:
    """The same weights as transformers writes them, alone and with tokenizer, and as slamkit."""
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import Qwen2Config, Qwen2ForCausalLM

    plain, sims, bare = folder / "plain", folder / "sims", folder / "bare"
    text = make_tokenizer(size["n_tokens"])
    text.save_pretrained(folder / "text")
    text.add_tokens([*(f"<Un{u}>" for u in range(N_UNITS)), "<speech>", "<text>"])
    text.save_pretrained(plain)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(text),
        hidden_size=size["hidden_size"],
        num_hidden_layers=size["num_hidden_layers"],
        intermediate_size=11 * size["hidden_size"] // 4,
        num_attention_heads=16,
        num_key_value_heads=4,
        tie_word_embeddings=False,
    )
    Qwen2ForCausalLM(config).bfloat16().save_pretrained(plain, max_shard_size="400MB")
    bare.mkdir()
    for path in (*plain.glob("model*"), plain / "config.json"):
        (bare / path.name).hardlink_to(path)
    sims.mkdir()
    for shard in plain.glob("*.safetensors"):
        weights = {f"lm.{name}": w for name, w in load_file(shard).items()}
        save_file(weights, sims / shard.name, metadata={"format": "pt"})
    base = json.loads((plain / "config.json").read_text(encoding="utf-8"))
    base["vocab_size"] = len(text) - N_UNITS - 2
    outer = {"model_type": "speech_language_model", "vocab_size": len(text), "base_config": base}
    (sims / "config.json").write_text(json.dumps(outer), encoding="utf-8")


def loader(way: str, folder: Path, dtype: Any) -> Callable[[], Any]:
    """A function that loads the checkpoint in the given way; what it needs is imported already."""
    import torch
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import AutoModelForCausalLM, AutoTokenizer

    import slm_lens
    import slm_lens.model.load  # noqa: F401 (names of the package are imported on first use)

    plain, wanted = folder / "plain", dtype or torch.bfloat16
    units = slm_lens.StreamSpec(offset=0, count=N_UNITS)
    spec = slm_lens.VocabSpec(streams={"units": units}, has_text=False)

    def hf_model(path: Path) -> Any:
        return AutoModelForCausalLM.from_pretrained(path, dtype=dtype or "auto")

    return {
        "weights: transformers": lambda: hf_model(folder / "bare"),
        "weights: slm-lens": lambda: slm_lens.load(folder / "bare", vocab_spec=spec, dtype=dtype),
        "with tokenizer: transformers": lambda: (
            AutoTokenizer.from_pretrained(plain),
            hf_model(plain),
        ),
        "with tokenizer: transformer-lens": lambda: TransformerBridge.boot_transformers(
            str(plain), device="cpu", dtype=wanted
        ),
        "with tokenizer: slm-lens": lambda: slm_lens.load(
            folder / "sims", text_tokenizer=folder / "text", dtype=dtype
        ),
    }[way]


def peak_kib() -> int:
    """Largest resident size of this process so far."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def measure(way: str, folder: Path, dtype_name: str) -> dict[str, float]:
    """One load in this process."""
    import torch

    dtype = None if dtype_name == "stored" else getattr(torch, dtype_name)
    load = loader(way, folder, dtype)
    tokens = torch.arange(32)[None]
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts here
    before, start = peak_kib(), time.perf_counter()
    made = load()
    loaded = time.perf_counter()
    model = made[-1] if isinstance(made, tuple) else made
    with torch.no_grad():
        model(tokens)
    answered = time.perf_counter()
    for weight in model.parameters():
        weight.detach().sum()  # so that what is only mapped counts
    size = sum(f.stat().st_size for f in (folder / "plain").glob("*.safetensors"))
    size *= 2 if dtype_name == "float32" else 1
    extra = (peak_kib() - before) * 1024
    return {
        "load": loaded - start,
        "logits": answered - start,
        "memory": extra / size,
        "beyond": (extra - size) / 1e6,
    }


def run(folder: Path, n_runs: int) -> None:
    """Every way and dtype, the best of a few runs each, in processes of their own."""
    columns = ("load s", "logits s", "load ratio", "logits ratio", "memory", "beyond MB")
    print(" " * WIDTH + "".join(f"{c:>14}" for c in columns))
    for dtype in ("stored", "float32"):
        base: dict[str, float] = {}
        for way, is_base in WAYS.items():
            runs = []
            for _ in range(n_runs):
                command = [sys.executable, __file__, "--measure", way, dtype, str(folder)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                runs.append(json.loads(done.stdout.splitlines()[-1]))
            best = {key: min(r[key] for r in runs) for key in runs[0]}
            base = best if is_base else base
            row = [best["load"], best["logits"]]
            row += [best[key] / base[key] for key in ("load", "logits")]
            cells = "".join(f"{number:>14.2f}" for number in [*row, best["memory"]])
            print(f"{dtype + ', ' + way:<{WIDTH}}{cells}{best['beyond']:>14.0f}", flush=True)


def main() -> None:
    """Write the checkpoints, or measure one way in this process."""
    parser = argparse.ArgumentParser(description="Time and memory to load a checkpoint.")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--measure", nargs=3, metavar=("WAY", "DTYPE", "FOLDER"))
    arguments = parser.parse_args()
    if arguments.measure:
        way, dtype, folder = arguments.measure
        print(json.dumps(measure(way, Path(folder), dtype)))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoints(Path(folder), SIZES["small" if arguments.small else "large"])
        size = sum(f.stat().st_size for f in Path(folder, "plain").glob("*.safetensors"))
        print(f"{size / 1e9:.2f} GB of bfloat16 weights; ratios to transformers above")
        run(Path(folder), 1 if arguments.small else N_RUNS)


if __name__ == "__main__":
    main()
