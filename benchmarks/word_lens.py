"""Ranks of spoken words at every layer: three ways to get them, side by side in one run.

* **slm-lens**: `word_lens`: ranks of the current and the next word, pooled over the word's
  positions by maximum and at its last one, in text and in full; modality curves (softmax, top 10);
  next units.
* **transformer-lens**: ``tools.analysis.logit_lens``, once for the current and once for the next
  word: ranks at single positions, in full; entropy.
* **materialised**: all logits ``[layer, pos, d_vocab]`` at once, then the pooled ranks of both
  words in text and in full, and nothing else.

A random Qwen2; each way in a process of its own, one thread. Memory: the peak of the process above
what it held before, as the kernel counts it (``VmHWM``, Linux). Numbers are for comparison within
one run on a quiet machine; nothing is asserted on them.

    python benchmarks/word_lens.py           # d_model 256, 8 layers, 152k rows, 256 positions
    python benchmarks/word_lens.py --small   # seconds, to see that it runs
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from random_slm import N_UNITS, Size, make_model, memory_mb

os.environ.update({"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"})  # before torch

UNITS_A_WORD = 8


LARGE = Size(d_model=256, n_layers=8, d_vocab=152_000, n_positions=256)
SMALL = Size(d_model=32, n_layers=2, d_vocab=2_000, n_positions=32)


def make_utterance(size: Size) -> Any:
    """Random units; every word covers `UNITS_A_WORD` of them."""
    import torch

    from slm_lens import SpeechTextSequence, Utterance, WordSpan

    generator = torch.Generator().manual_seed(0)
    n_words = size.n_positions // UNITS_A_WORD
    n_text = size.d_vocab - N_UNITS - 2
    names = torch.randperm(n_text, generator=generator)[:n_words].tolist()
    units = torch.randint(N_UNITS, (n_words * UNITS_A_WORD,), generator=generator)
    words = tuple(
        WordSpan(f"w{name}", "speech", i * UNITS_A_WORD, (i + 1) * UNITS_A_WORD)
        for i, name in enumerate(names)
    )
    sequence = SpeechTextSequence(n_text + units, ("speech",) * len(units), words)
    return Utterance("random", sequence)


def with_slm_lens(model: Any, utterance: Any) -> Callable[[], Any]:
    """The whole word table."""
    from slm_lens import word_lens

    return lambda: word_lens(
        model, [utterance], function_words=frozenset(), policy="whole_word", n_draws=0
    )


def with_transformer_lens(model: Any, utterance: Any) -> Callable[[], Any]:
    """Rank of the word, and of the next one, at every position; no pooling, no text rows."""
    import torch
    from transformer_lens.tools.analysis import logit_lens

    ids = torch.tensor([int(w.word[1:]) for w in utterance.sequence.words])
    tokens = utterance.sequence.tokens[None]
    current, following = (x.repeat_interleave(UNITS_A_WORD)[None] for x in (ids, ids.roll(-1)))

    def run() -> list[Any]:
        _, cache = model.run_with_cache(tokens)
        return [
            logit_lens(model, cache=cache, positions=None, targets=targets).rank_trajectory()
            for targets in (current, following)
        ]

    return run


def materialised(model: Any, utterance: Any) -> Callable[[], Any]:
    """All logits first."""
    import torch

    words = utterance.sequence.words
    ids = torch.tensor([int(w.word[1:]) for w in words])
    text = model.vocab.mask("text")
    names = ["blocks.0.hook_resid_pre"]
    names += [f"blocks.{i}.hook_resid_post" for i in range(model.cfg.n_layers)]

    @torch.no_grad()
    def run() -> list[Any]:
        _, cache = model.run_with_cache(utterance.sequence.tokens[None], names_filter=names)
        stack = torch.cat([cache[n] for n in names])
        logits = model.ln_final(stack) @ model.W_U  # [layer, pos, d_vocab]
        spans = logits.unflatten(1, (len(words), UNITS_A_WORD))
        ranks = []
        for pooled in (spans.amax(2), spans[:, :, -1]):
            for targets in (ids, ids.roll(-1)):
                best = pooled.gather(2, targets.expand(len(stack), -1)[..., None])
                above = pooled > best
                ranks += [(above & text).sum(-1) + 1, above.sum(-1) + 1]
        return ranks

    return run


WAYS = {
    "slm-lens": with_slm_lens,
    "transformer-lens": with_transformer_lens,
    "materialised": materialised,
}


def measure(way: str, size: Size) -> dict[str, float]:
    """Seconds and extra memory of one way, in this process."""
    model, utterance = make_model(size, n_heads=4, mlp_ratio=3), make_utterance(size)
    run = WAYS[way](model, utterance)
    model(utterance.sequence.tokens[None, :8])  # first use of anything is not measured
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # VmHWM starts again
    held = memory_mb("VmRSS")
    start = time.perf_counter()
    run()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "extra_mb": memory_mb("VmHWM") - held}


def main() -> None:
    """Measure each way in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(description="Ranks of spoken words, three ways.")
    parser.add_argument("--small", action="store_true", help="sizes that take seconds")
    parser.add_argument("--way", choices=list(WAYS), help="one way, as JSON")
    options = parser.parse_args()
    size = SMALL if options.small else LARGE
    if options.way is not None:
        print(json.dumps(measure(options.way, size)))
        return
    print(
        f"d_model {size.d_model}, {size.n_layers} layers, {size.d_vocab} rows, "
        f"{size.n_positions} positions, {size.n_positions // UNITS_A_WORD} words, 1 thread"
    )
    print(f"{'':<17}{'seconds':>9}{'extra MB':>10}{'time ratio':>12}{'memory ratio':>14}")
    own: dict[str, float] = {}
    for way in WAYS:
        command = [sys.executable, __file__, "--way", way, *(["--small"] if options.small else [])]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found: dict[str, float] = json.loads(run.stdout)
        own = own or found
        time_ratio, memory_ratio = (found[key] / max(own[key], 1e-9) for key in found)
        print(
            f"{way:<17}{found['seconds']:>9.2f}{found['extra_mb']:>10.0f}"
            f"{time_ratio:>12.2f}{memory_ratio:>14.2f}"
        )


if __name__ == "__main__":
    main()
