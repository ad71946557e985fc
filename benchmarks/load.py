"""Loading a checkpoint: four ways, side by side in one run.

* **transformers**: ``AutoModelForCausalLM.from_pretrained`` alone;
* **with tokenizer**: and the tokenizer, as anybody needs it;
* **transformer-lens**: ``TransformerBridge.boot_transformers``;
* **slm-lens**: ``slm_lens.load`` on the same weights in slamkit's layout, text tokenizer apart.

A random Qwen2 with the vocabulary of SIMS-7B, in bfloat16, in shards, with a byte-level tokenizer
of 151,665 tokens. Each way in a process of its own, after its imports; the files are in the page
cache. Two times, because what keeps its dtype is only mapped to the file and read when it is used:
until the call is back, and until the logits of 32 tokens are there. Memory: peak resident size of
the process above what it held before, mapped files included (``VmHWM``, Linux), as a multiple of
the weights' size in the dtype that was asked for. Numbers are for comparison within one run on a
quiet machine; nothing is asserted on them.

    python benchmarks/load.py           # 0.9 GB of weights
    python benchmarks/load.py --small   # seconds, to see that it runs
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers

N_UNITS, N_RUNS = 500, 3
WAYS = ("transformers", "with tokenizer", "transformer-lens", "slm-lens")
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
    """The same weights as transformers writes them (``plain``) and as slamkit does (``sims``)."""
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import Qwen2Config, Qwen2ForCausalLM

    plain, sims = folder / "plain", folder / "sims"
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
    sims.mkdir()
    for shard in plain.glob("*.safetensors"):
        weights = {f"lm.{name}": w for name, w in load_file(shard).items()}
        save_file(weights, sims / shard.name, metadata={"format": "pt"})
    base = json.loads((plain / "config.json").read_text(encoding="utf-8"))
    base["vocab_size"] = len(text) - N_UNITS - 2
    outer = {"model_type": "speech_language_model", "vocab_size": len(text), "base_config": base}
    (sims / "config.json").write_text(json.dumps(outer), encoding="utf-8")


def loader(way: str, folder: Path, dtype: Any) -> Any:
    """A function that loads the checkpoint in the given way; what it needs is imported already."""
    import torch
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import AutoModelForCausalLM, AutoTokenizer

    import slm_lens
    import slm_lens.model.load  # noqa: F401 (names of the package are imported on first use)

    plain = folder / "plain"
    if way == "slm-lens":
        return lambda: slm_lens.load(folder / "sims", text_tokenizer=folder / "text", dtype=dtype)
    if way == "transformer-lens":
        wanted = dtype or torch.bfloat16
        return lambda: TransformerBridge.boot_transformers(str(plain), device="cpu", dtype=wanted)
    if way == "transformers":
        return lambda: AutoModelForCausalLM.from_pretrained(plain, dtype=dtype or "auto")

    def with_tokenizer() -> Any:
        AutoTokenizer.from_pretrained(plain)
        return AutoModelForCausalLM.from_pretrained(plain, dtype=dtype or "auto")

    return with_tokenizer


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
    model = load()
    loaded = time.perf_counter()
    with torch.no_grad():
        model(tokens)
    answered = time.perf_counter()
    size = sum(f.stat().st_size for f in (folder / "plain").glob("*.safetensors"))
    size *= 2 if dtype_name == "float32" else 1
    memory = (peak_kib() - before) * 1024 / size
    return {"load": loaded - start, "logits": answered - start, "memory": memory}


def run(folder: Path, n_runs: int) -> None:
    """Every way and dtype, the best of a few runs each, in processes of their own."""
    print(
        f"{'':<28}{'load s':>8}{'logits s':>10}{'load ratio':>12}{'logits ratio':>14}{'memory':>8}"
    )
    for dtype in ("stored", "float32"):
        base: dict[str, float] = {}
        for way in WAYS:
            runs = []
            for _ in range(n_runs):
                command = [sys.executable, __file__, "--measure", way, dtype, str(folder)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                runs.append(json.loads(done.stdout.splitlines()[-1]))
            best = {key: min(r[key] for r in runs) for key in runs[0]}
            base = base or best
            print(
                f"{dtype + ', ' + way:<28}{best['load']:>8.2f}{best['logits']:>10.2f}"
                f"{best['load'] / base['load']:>12.2f}{best['logits'] / base['logits']:>14.2f}"
                f"{best['memory']:>8.2f}",
                flush=True,
            )


def main() -> None:
    """Write the checkpoints, or measure one way in this process."""
    parser = argparse.ArgumentParser(description="Time to load a checkpoint, four ways.")
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
        print(f"{size / 1e9:.2f} GB of bfloat16 weights; ratios to transformers alone")
        run(Path(folder), 1 if arguments.small else N_RUNS)


if __name__ == "__main__":
    main()
