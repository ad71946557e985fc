"""What a run over a large corpus would cost: arithmetic from stated rates, nothing is run.

python benchmarks/corpus_cost.py                      # 10,000 hours with a 7B model
python benchmarks/corpus_cost.py --hours 1000 --utilisation 0.2
"""

import argparse
from dataclasses import dataclass


@dataclass(frozen=True)
class Assumed:
    """Of the data, the model (Qwen2.5-7B's shape), the GPU, and what our runs measured."""

    hours: float = 10_000
    frame_rate_hz: float = 25.0  # mHuBERT
    kept: float = 0.7  # share of frames that deduplication leaves: an assumption
    words_a_second: float = 2.7  # read English, about 160 words a minute
    clip_s: float = 10.0
    n_parameters: float = 7.1e9  # without the embedding: of the blocks
    d_model: int = 3584
    n_layers: int = 28
    d_vocab: int = 152_167
    peak_flops: float = 989e12  # H100, bfloat16, dense, as its maker states it
    utilisation: float = 0.4
    price: float = 3.0  # for a GPU hour
    bytes_a_row: float = 171.6  # measured: benchmarks/corpus.py, 20 draws


def cost(a: Assumed) -> list[tuple[str, str, str]]:
    """Each step: what it is, its formula, its value."""
    seconds = a.hours * 3600
    tokens = seconds * a.frame_rate_hz * a.kept
    words = seconds * a.words_a_second
    layers = a.n_layers + 1
    forward = 2 * a.n_parameters * tokens
    readout = 2 * a.d_model * a.d_vocab * layers * tokens
    gpu_hours = (forward + readout) / (a.peak_flops * a.utilisation) / 3600
    rows = words * layers
    plan = 8 * words + 100 * seconds / a.clip_s
    return [
        ("tokens", "hours x 3600 x frame rate x kept", f"{tokens:.3g}"),
        ("words", "hours x 3600 x words a second", f"{words:.3g}"),
        ("forward", "2 x parameters x tokens", f"{forward:.3g} FLOP"),
        ("readout", "2 x d_model x d_vocab x layers x tokens", f"{readout:.3g} FLOP"),
        ("readout share", "", f"{readout / (forward + readout):.0%}"),
        ("GPU hours", "FLOP / (peak x utilisation) / 3600", f"{gpu_hours:.0f}"),
        ("money", "GPU hours x price", f"{gpu_hours * a.price:.0f}"),
        ("rows", "words x layers", f"{rows:.3g}"),
        ("disk", "rows x bytes a row", f"{rows * a.bytes_a_row / 1e12:.2f} TB"),
        ("plan", "8 bytes a word, 100 an item", f"{plan / 1e9:.1f} GB"),
        ("shards", "of 256 clips", f"{seconds / a.clip_s / 256:.0f}"),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="What a run over a large corpus would cost.")
    for name in ("hours", "kept", "utilisation", "price", "bytes_a_row"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=None)
    given = {k: v for k, v in vars(parser.parse_args()).items() if v is not None}
    for what, formula, value in cost(Assumed(**given)):
        print(f"{what:<14}{formula:<42}{value}")


if __name__ == "__main__":
    main()
