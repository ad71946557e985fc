"""Tuned lenses of the embedded organism: what each is worth at positions of either modality.

1. Speaks stories in the organism's language (extra ``synth``); no sentence of a held-out clip is
   among them, and the last of them are kept out of the fit.
2. Fits a lens at text, at speech and at all positions, on the same stream of spoken, written and
   interleaved documents; and makes a Jacobian lens at text positions of the first documents of the
   stream. One process each, one thread.
3. Measures mean ``KL(final || lens)`` over the middle layers (a quarter to three quarters of the
   way up), by modality of the position, on documents of the stories that were kept out, and on the
   held-out clips, each spoken, written and interleaved; and on the clips recall@5 of the spoken
   word at its own positions.

Every fit keeps its state, so that the command can be given again after an interruption. Memory is
the peak of the process of a fit (``VmHWM``, Linux), model and libraries included, and what the
fit added to it. Seconds of an interrupted fit are those of its last part, scaled to the whole.

    python benchmarks/tuned_lens.py --out runs/tuned-lens     # 2.5 million tokens for each lens
    python benchmarks/tuned_lens.py --out runs/small --small  # a minute, to see that it runs
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

os.environ.update({"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"})  # before torch

FITTED = ("text", "speech", "all")
JACOBIAN = "jacobian"


@dataclass(frozen=True)
class Size:
    """Of the corpus and the fits."""

    n_tokens: int
    n_stories: int
    n_unseen: int
    learning_rate: float
    n_jacobian: int
    n_bootstrap: int
    n_clips: int


LARGE = Size(
    n_tokens=2_500_000,
    n_stories=4000,
    n_unseen=400,
    learning_rate=1.2e-2,
    n_jacobian=400,
    n_bootstrap=2000,
    n_clips=30,
)
SMALL = Size(
    n_tokens=20_000,
    n_stories=20,
    n_unseen=5,
    learning_rate=1e-3,
    n_jacobian=2,
    n_bootstrap=20,
    n_clips=3,
)


def memory_mb(key: str) -> float:
    """A line of this process's status, in 10^6 bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError(f"memory_mb: no {key} in /proc/self/status, expected a Linux kernel.")


def streams(model: Any, out: Path, size: Size) -> tuple[Any, Any]:
    """Documents to fit on, and those of the stories that are kept out."""
    from slm_lens.organism.corpus import build_corpus
    from slm_lens.organism.lens_corpus import documents

    n_stories = size.n_stories + size.n_unseen
    path = out / "corpus.npz"
    stories = build_corpus(path, model.unit_tokenizer, n_stories, n_workers=2)
    fitted, unseen = stories[: size.n_stories], stories[size.n_stories :]
    return documents(model, fitted), documents(model, unseen, seed=1)


def fit(name: Any, out: Path, size: Size) -> dict[str, float]:
    """Fit one lens, or go on with it, and say what that took."""
    import slm_lens

    model = slm_lens.load("organism")
    stream, _ = streams(model, out, size)
    batch_size = slm_lens.FitSettings().batch_size
    tokens_a_document = sum(map(len, stream(0))) / size.n_stories
    n_steps = round(size.n_tokens / (batch_size * tokens_a_document))
    n_documents = size.n_jacobian if name == JACOBIAN else n_steps * batch_size
    passes = chain.from_iterable(map(stream, count()))
    n_tokens = sum(map(len, islice(passes, n_documents)))
    begun = steps_done(out / name)
    held_mb = memory_mb("VmRSS")
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    if name == JACOBIAN:
        lens = slm_lens.jacobian_lens(model, islice(stream(0), n_documents), positions="text")
    else:
        rate = size.learning_rate
        settings = slm_lens.FitSettings(positions=name, n_steps=n_steps, learning_rate=rate)
        lens = slm_lens.fit_tuned_lens(model, stream, settings, checkpoint=out / name)
    share = 1 if name == JACOBIAN else (lens.facts.n_steps - begun) / lens.facts.n_steps
    cost = {
        "seconds": (time.perf_counter() - start_s) / share,
        "cpu_seconds": (time.process_time() - start_cpu_s) / share,
        "share_timed": share,
        "n_tokens": n_tokens,
        "n_positions": lens.facts.n_positions,
        "n_steps": lens.facts.n_steps,
        "peak_mb": memory_mb("VmHWM"),
        "held_mb": held_mb,
    }
    lens.save(out / name)
    return cost


def steps_done(folder: Path) -> int:
    """Steps of an interrupted fit."""
    import torch

    path = folder / "fit.pt"
    return torch.load(path, weights_only=True)["n_steps"] if path.is_file() else 0


def fit_all(out: Path, *, small: bool) -> dict[str, dict[str, float]]:
    """Fit every lens in a process of its own, if that is not done yet."""
    costs = {}
    for name in (*FITTED, JACOBIAN):
        path = out / name / "cost.json"
        if not path.is_file():
            command = [sys.executable, __file__, "--out", str(out), "--fit", name]
            subprocess.run([*command, *(["--small"] if small else [])], check=True)
        costs[name] = json.loads(path.read_text(encoding="utf-8"))
    return costs


def read_through(model: Any, lens: Any, size: Size) -> tuple[Any, Any]:
    """Words and phases of the held-out clips, through one lens."""
    import slm_lens

    words = slm_lens.word_lens(
        model,
        slm_lens.read_utterances(model, "held-out")[: size.n_clips],
        function_words=slm_lens.ENGLISH_FUNCTION_WORDS,
        policy=model.word_policy,
        batch_size=10,
        lens=lens,
    )
    return words, slm_lens.measure_phases(words, n_bootstrap=size.n_bootstrap)


def paired_differences(words: dict[str, Any], layer: int, n_bootstrap: int) -> None:
    """Print recall@5 of each lens minus that of the logit lens, over resampled clips."""
    import numpy as np
    import polars as pl

    def hits(name: str) -> tuple[Any, Any]:
        rows = words[name].table.filter(pl.col("is_content"), layer=layer)
        rows = rows.sort("utterance", "word_index").drop_nulls("rank_current_text_max")
        return rows["utterance"].to_numpy(), (rows["rank_current_text_max"] <= 5).to_numpy()

    clips, base = hits("logit")
    names, clip = np.unique(clips, return_inverse=True)
    even = np.ones(len(names)) / len(names)
    weights = np.random.default_rng(0).multinomial(len(names), even, size=n_bootstrap)[:, clip]
    print(f"\nrecall@5 at layer {layer} minus that of the logit lens [95 %, clips resampled]")
    for name in words:
        change = hits(name)[1].astype(float) - base
        low, high = np.quantile((weights * change).sum(1) / weights.sum(1), (0.025, 0.975))
        print(f"{name:<10}{change.mean():+.3f} [{low:+.3f}, {high:+.3f}]")


def evaluate(out: Path, size: Size) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Divergence of every lens, by what it was measured on; words and phases through each."""
    import slm_lens
    from slm_lens.corpus.documents import clip_documents

    model = slm_lens.load("organism")
    fitted = {name: slm_lens.load_tuned_lens(out / name, model) for name in (*FITTED, JACOBIAN)}
    held_out = clip_documents(model, "held-out")[: 3 * size.n_clips]
    lenses = {"logit": slm_lens.LogitLens(model), **fitted}
    _, unseen = streams(model, out, size)
    tables = {
        "stories": slm_lens.lens_divergence(model, lenses, list(unseen(0))),
        "clips": slm_lens.lens_divergence(model, lenses, held_out),
    }
    words, phases = {}, {}
    for name, lens in ({"logit": None} | fitted).items():
        words[name], phases[name] = read_through(model, lens, size)
    for name, table in tables.items():
        table.write_parquet(out / f"divergence-{name}.parquet")
    for name, result in phases.items():
        result.write(out / f"phases-{name}")
    return tables, words, phases


def report_divergence(tables: dict[str, Any], names: list[str]) -> None:
    """Print how far each lens is from the model's own prediction."""
    from slm_lens import middle_divergence

    print("mean KL(final || lens) in nats over the middle layers, share of the logit lens")
    for of, table in tables.items():
        print(f"{'on ' + of:<12}" + "".join(f"{p + ' positions':>22}" for p in FITTED))
        base = {p: middle_divergence(table, "logit", p) for p in FITTED}
        for name in names:
            kls = {p: middle_divergence(table, name, p) for p in FITTED}
            cells = (f"{kls[p]:.3f} ({100 * kls[p] / base[p]:.1f} %)" for p in FITTED)
            print(f"{name:<12}" + "".join(f"{c:>22}" for c in cells))


def report(phases: dict[str, Any], costs: dict[str, dict[str, float]]) -> None:
    """Print recall, and what the fits took."""
    for control, of in (("none", "the spoken word"), ("shuffled", "shuffled words")):
        print(f"\nrecall@5 of {of} in text, maximum over the word's positions, by layer")
        for name, result in phases.items():
            rows = result.curve(
                "current_word_recall", control=control, vocab="text", pool="max", k=5
            )
            print(f"{name:<10}" + " ".join(f"{x:.3f}" for x in rows["estimate"]))
    print("\nwhat each took, one thread")
    header = f"{'lens':<10}{'tokens':>10}{'positions':>11}{'steps':>7}"
    print(f"{header}{'CPU s':>8}{'peak MB':>9}{'+MB':>6}")
    for name, c in costs.items():
        print(
            f"{name:<10}{c['n_tokens']:>10}{c['n_positions']:>11}{c['n_steps']:>7}"
            f"{c['cpu_seconds']:>8.0f}{c['peak_mb']:>9.0f}{c['peak_mb'] - c['held_mb']:>6.0f}"
        )


def main() -> None:
    """Fit, measure, print, draw."""
    parser = argparse.ArgumentParser(description="Tuned lenses of the embedded organism.")
    parser.add_argument("--out", type=Path, required=True, help="folder for lenses and tables")
    parser.add_argument("--small", action="store_true", help="sizes that take a minute")
    parser.add_argument("--fit", choices=[*FITTED, JACOBIAN], help="one lens, and no more")
    options = parser.parse_args()
    size = SMALL if options.small else LARGE
    if options.fit is not None:
        cost = fit(options.fit, options.out, size)
        path = options.out / options.fit / "cost.json"
        path.write_text(json.dumps(cost), encoding="utf-8")
        return
    costs = fit_all(options.out, small=options.small)
    tables, words, phases = evaluate(options.out, size)
    report_divergence(tables, list(phases))
    report(phases, costs)
    paired_differences(words, phases["logit"].current_word.layer, size.n_bootstrap)

    from slm_lens import lens_figure, save_figure

    save_figure(lens_figure(tables["clips"], phases), options.out / "tuned_lens")


if __name__ == "__main__":
    main()
