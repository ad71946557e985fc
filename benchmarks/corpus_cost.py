"""What a run over a large corpus would cost: arithmetic from stated figures, nothing is run.

    python benchmarks/corpus_cost.py                      # 10,000 hours with a 7B model
    python benchmarks/corpus_cost.py --hours 1000 --price-low 2.5 --kept 0.6
    python benchmarks/corpus_cost.py --measure            # bytes and rates, with the organism

docs/cluster.md has what the first command prints; a test holds them together. `--measure` speaks
stories, runs `phases` over them, and gives the figures that are measured and not assumed. Ranks of
the organism fit into one byte, as it knows 171 text tokens. So its table is also written with every
rank drawn evenly from 151,665, which compresses least: about the disk that 20 draws take at most.
"""

import argparse
import os
import tempfile
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

os.environ.update({"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"})  # before torch

N_TEXT = 151_665  # Qwen2.5's tokenizer
UTILISATIONS = (0.2, 0.4)


@dataclass(frozen=True)
class Assumed:
    """Of the data, the model (Qwen2.5-7B with 500 units), the GPU, and what was measured."""

    hours: float = 10_000
    frame_rate_hz: float = 25.0  # mHuBERT
    kept: float = 0.7  # share of frames that deduplication leaves: an assumption
    words_a_second: float = 2.7  # read English, about 160 words a minute: an assumption
    clip_s: float = 10.0
    n_parameters: float = 6.53e9  # of the blocks: neither embedding nor unembedding
    d_model: int = 3584
    n_layers: int = 28
    d_vocab: int = 152_167
    peak: float = 989e12  # FLOP/s of an H100 SXM, bfloat16, dense, as its maker states it
    peak_float32: float = 67e12  # the same, float32 without TF32
    price_low: float = 2.0  # of a GPU hour, in dollars: an assumption, as the next one
    price_high: float = 4.0
    row_bytes: float = 171.6  # measured: benchmarks/corpus.py, 20 draws
    row_bytes_wide: float = 446.0  # measured: --measure, 20 draws, ranks of 151,665
    row_bytes_no_draws: float = 32.4  # measured: --measure
    sound_rate: float = 1844  # measured: --measure, seconds of sound a second on one core
    items_per_shard: int = 256
    requests_a_shard: int = 13  # counted behind memory://


ROW = "{:<18}{:<44}{:>12}{:>12}"


def cost(a: Assumed) -> list[str]:
    """The table, line by line."""
    seconds = a.hours * 3600
    tokens = seconds * a.frame_rate_hz * a.kept
    words = seconds * a.words_a_second
    clips = seconds / a.clip_s
    forward = 2 * a.n_parameters * tokens
    readout = 2 * a.d_model * a.d_vocab * (a.n_layers + 1) * tokens
    half = _gpu_hours((forward + readout) / a.peak)
    mixed = _gpu_hours(forward / a.peak + readout / a.peak_float32)
    whole = _gpu_hours((forward + readout) / a.peak_float32)
    rows = words * (a.n_layers + 1)
    shards = clips / a.items_per_shard
    lines: list[tuple[str, ...]] = [
        ("sound", "T = hours x 3600", "", f"{seconds:.3g} s"),
        ("tokens", "U = T x frame_rate x kept", "", f"{tokens:.3g}"),
        ("words", "W = T x words_a_second", "", f"{words:.3g}"),
        ("forward", "F = 2 x n_parameters x U", "", f"{forward:.3g} FLOP"),
        ("readout", "R = 2 x d_model x d_vocab x (n_layers+1) x U", "", f"{readout:.3g} FLOP"),
        ("readout share", "R / (F + R)", "", f"{readout / (forward + readout):.0%}"),
        ("", "", *(f"at {u:.0%}" for u in UTILISATIONS)),
        ("GPU hours", "(F + R) / (peak x utilisation) / 3600", *_each("{:.0f}", half)),
        ("  autocast", "R at peak_float32", *_each("{:.0f}", mixed)),
        ("  float32", "F and R at peak_float32", *_each("{:.0f}", whole)),
        ("money", "GPU hours x price_low", *_each("{:.0f}", [h * a.price_low for h in half])),
        ("", "GPU hours x price_high", *_each("{:.0f}", [h * a.price_high for h in half])),
        ("rows", "W x (n_layers+1)", "", f"{rows:.3g}"),
        ("disk", "rows x row_bytes", "", _terabytes(rows * a.row_bytes)),
        ("  at most", "rows x row_bytes_wide", "", _terabytes(rows * a.row_bytes_wide)),
        ("  without draws", "rows x row_bytes_no_draws", "",
         _terabytes(rows * a.row_bytes_no_draws)),
        ("MFCC units", "T / sound_rate / 3600, hours of one core", "",
         f"{seconds / a.sound_rate / 3600:.0f}"),
        ("plan", "8 bytes x W + 100 x clips", "", f"{(8 * words + 100 * clips) / 1e9:.1f} GB"),
        ("shards", "clips / items_per_shard", "", f"{shards:.0f}"),
        ("requests", "shards x requests_a_shard", "", f"{shards * a.requests_a_shard:.3g}"),
    ]  # fmt: skip
    return [ROW.format(*line).rstrip() for line in lines]


def _gpu_hours(busy_s: float) -> list[float]:
    """At each utilisation."""
    return [busy_s / u / 3600 for u in UTILISATIONS]


def _each(form: str, values: list[float]) -> list[str]:
    return [form.format(v) for v in values]


def _terabytes(n_bytes: float) -> str:
    return f"{n_bytes / 1e12:.2f} TB"


def measure(n: int) -> None:
    """Print what the defaults of `Assumed` take from runs."""
    import corpus  # pyright: ignore[reportMissingImports]
    import torch

    import slm_lens

    torch.set_num_threads(1)
    model = slm_lens.load("organism")
    with tempfile.TemporaryDirectory() as top:
        place = Path(top)
        corpus.speak(place / "spoken", n)
        data = corpus.lines(place / "spoken", n)
        for n_draws in (20, 0):
            out = place / f"draws-{n_draws}"
            config = corpus.config_of(data, out, phases={"n_draws": n_draws})
            words = slm_lens.run_corpus(config, model=model).words.collect()
            print(f"bytes a row, {n_draws} draws: {_row_bytes(out, len(words)):.1f}")
            if n_draws:
                _write_wide(words, place / "wide")
                print(f"the same, ranks of {N_TEXT:,}: "
                      f"{_row_bytes(place / 'wide', len(words)):.1f}")  # fmt: skip
        sound_s, spent_s = _sound_rate(place / "spoken" / "clips", model.unit_tokenizer)
        print(f"sound to MFCC units: {sound_s / spent_s:.0f} seconds of sound a second")


def _row_bytes(out: Path, n_rows: int) -> float:
    return sum(p.stat().st_size for p in (out / "words").iterdir()) / n_rows


def _write_wide(words: Any, out: Path) -> None:
    """The same table with every rank drawn evenly, in one shard, as a run writes it."""
    import numpy as np
    import polars as pl
    import pyarrow as pa

    from slm_lens.corpus.run_folder import RunFolder

    rng = np.random.default_rng(0)

    def drawn(n: int) -> np.ndarray:
        return rng.integers(1, N_TEXT + 1, n, dtype=np.int32)

    columns = []
    for values in words:
        if values.dtype == pl.List(pl.Int32):
            lengths = values.list.len().fill_null(0).to_numpy()
            offsets = pa.array(np.concatenate([[0], lengths.cumsum()]).astype(np.int64))
            mask = pa.array(values.is_null().to_numpy())
            ranks = pa.array(drawn(int(lengths.sum())))
            lists = pa.LargeListArray.from_arrays(offsets, ranks, mask=mask)
            columns.append(pl.Series(values.name, lists))
        elif values.name.startswith("rank_"):
            columns.append(pl.Series(values.name, drawn(len(values))).set(values.is_null(), None))
        else:
            columns.append(values)
    RunFolder(out, "phases").write_shard(0, {"words": pl.DataFrame(columns)})


def _sound_rate(clips: Path, tokenizer: Any) -> tuple[float, float]:
    """Seconds of sound, and those that decoding and encoding took."""
    from slm_lens.speech.audio import read_audio

    sound_s, begin_s = 0.0, time.perf_counter()
    for path in sorted(clips.glob("*.flac")):
        waveform = read_audio(path, sample_rate_hz=tokenizer.sample_rate_hz)
        tokenizer.encode(waveform)
        sound_s += len(waveform) / tokenizer.sample_rate_hz
    return sound_s, time.perf_counter() - begin_s


def main() -> None:
    parser = argparse.ArgumentParser(description="What a run over a large corpus would cost.")
    parser.add_argument("--measure", action="store_true", help="figures of runs, with the organism")
    parser.add_argument("--stories", type=int, default=512, help="of --measure")
    for field in fields(Assumed):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=field.type, default=None)
    given = vars(parser.parse_args())
    if given.pop("measure"):
        measure(given["stories"])
        return
    del given["stories"]
    print("\n".join(cost(Assumed(**{k: v for k, v in given.items() if v is not None}))))


if __name__ == "__main__":
    main()
