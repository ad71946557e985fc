"""A run over a corpus: overhead beyond the model, rates, memory by size, and a pool of processes.

The organism reads spoken stories that espeak-ng says (2,000 different ones; larger sets repeat
them under other names), `phases` with 20 control draws, one thread a process.

* **overhead**: seconds of the whole run (keys and words, reading, batches, tables, files; not
  loading the model) beside the seconds that forward pass and readout took within it.
* **memory**: the largest resident size of the process.
* **pool**: rows a second of the engine "ray" with one and with two workers, from the first shard's
  begin to the last one's end, and of the whole commands, which start Ray and load models.

    python benchmarks/corpus.py overhead memory ray   # each by itself, or all
    python benchmarks/corpus.py --small                # seconds, to see that it runs
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ.update({"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"})  # before torch

N_DIFFERENT = 2000
SIZES = (1000, 4000, 16000)


def speak(folder: Path, n: int) -> None:
    """Stories as sound beside word times, and as lines of units."""
    import numpy as np
    import soundfile

    import slm_lens
    from slm_lens.organism.corpus import (
        TRAINING_VOICES,
        draw_voice,
        speak_sentences,
        training_story,
    )
    from slm_lens.speech.synthesis import EspeakSynthesizer

    tokenizer = slm_lens.load("organism").unit_tokenizer
    synthesizer, clips = EspeakSynthesizer(), folder / "clips"
    clips.mkdir(parents=True)
    with (folder / "units.jsonl").open("w") as file:
        for i in range(n):
            voice = draw_voice(np.random.default_rng([9, i]), TRAINING_VOICES)
            story = training_story(10**6 + i, spoken=True)
            spoken = speak_sentences(synthesizer, story, voice, tokenizer.sample_rate_hz)
            units = tokenizer.encode(spoken.waveform)
            assert isinstance(units, slm_lens.Units)
            words = [[w.word, w.start_s, w.end_s] for w in spoken.alignment]
            end_s = units.duration_s  # the last frame ends a little before the sound does
            within = [[w, s, min(e, end_s)] for w, s, e in words]
            line = {"file_name": f"{i:05d}", "aligned_text": within, "units": units.ids.tolist(),
                    "duration": units.durations_frames.tolist()}  # fmt: skip
            file.write(json.dumps(line) + "\n")
            samples = spoken.waveform.numpy()
            soundfile.write(clips / f"{i:05d}.flac", samples, tokenizer.sample_rate_hz)
            about = {"file_name": f"{i:05d}", "aligned_text": words}
            (clips / f"{i:05d}.json").write_text(json.dumps(about))


def lines(folder: Path, n: int) -> Path:
    """The first n stories, repeated under other names if there are fewer."""
    path = folder / f"{n}.jsonl"
    rows = (folder / "units.jsonl").read_text().splitlines()
    with path.open("w") as file:
        for i in range(n):
            row = json.loads(rows[i % len(rows)])
            file.write(json.dumps(row | {"file_name": f"{i:05d}"}) + "\n")
    return path


def config_of(data: Path, out: Path, **changes: Any) -> Any:
    from slm_lens.corpus.run_config import run_config

    entries = {"format": "folder", "path": str(data)}
    if data.suffix == ".jsonl":
        entries |= {"format": "jsonl_units", "frame_rate_hz": 25.0}
    config = {"model": {"name": "organism"}, "data": entries, "out": str(out)}
    return run_config(config | changes)


def measured(data: Path, out: Path) -> dict[str, float]:
    """One run in this process."""
    import resource

    import torch

    import slm_lens
    from slm_lens.lens.utterance_reader import UtteranceReader

    torch.set_num_threads(1)
    model, model_s, read = slm_lens.load("organism"), [0.0], UtteranceReader.read

    def timed(self: Any, *given: Any) -> Any:
        begin_s = time.perf_counter()
        found = read(self, *given)
        model_s[0] += time.perf_counter() - begin_s
        return found

    begin_s = time.perf_counter()
    with patch.object(UtteranceReader, "read", timed):
        run = slm_lens.run_corpus(config_of(data, out), model=model)
    seconds = time.perf_counter() - begin_s
    log = [json.loads(x) for x in (out / "log.txt").read_text().splitlines()]
    assert run.errors.collect().is_empty(), run.summary()
    n_rows = sum(x["n_rows"] for x in log)
    tokens = sum(x["n_tokens"] for x in log)
    return {
        "items": run.manifest["data"]["n_items"],
        "seconds": seconds,
        "model_s": model_s[0],
        "overhead": seconds / model_s[0] - 1,
        "rows": n_rows,
        "padding": 1 - tokens / sum(x["n_tokens"] / (1 - x["padding"]) for x in log),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "bytes": sum(p.stat().st_size for p in (out / "words").iterdir()),
    }


def apart(data: Path, out: Path) -> dict[str, float]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--one", str(data), str(out)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


ROW = "{:<16}{:>7}{:>9}{:>9}{:>10}{:>9}{:>9}{:>9}{:>10}"


def show_head() -> None:
    names = ("data", "items", "seconds", "model s", "overhead", "rows/s", "padding", "peak MB",
             "B/row")  # fmt: skip
    print(ROW.format(*names), flush=True)


def show(name: str, f: dict[str, float]) -> None:
    cells = (f["items"], f"{f['seconds']:.1f}", f"{f['model_s']:.1f}", f"{f['overhead']:.1%}",
             f"{f['rows'] / f['seconds']:.0f}", f"{f['padding']:.1%}", f"{f['peak_mb']:.0f}",
             f"{f['bytes'] / f['rows']:.1f}")  # fmt: skip
    print(ROW.format(name, *cells), flush=True)


def pool(data: Path, out: Path, n_workers: int, items_per_shard: int) -> tuple[float, float, int]:
    """Seconds at work, seconds of the whole command, and rows."""
    config = {"model": {"name": "organism"}, "out": str(out), "items_per_shard": items_per_shard,
              "data": {"format": "jsonl_units", "path": str(data), "frame_rate_hz": 25.0},
              "engine": {"name": "ray", "n_workers": n_workers}}  # fmt: skip
    file = out.with_suffix(".yaml")
    file.write_text(json.dumps(config))
    begin_s = time.perf_counter()
    command = [sys.executable, "-m", "slm_lens", "run", str(file)]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    whole_s = time.perf_counter() - begin_s
    log = [json.loads(x) for x in (out / "log.txt").read_text().splitlines()]
    ends = [datetime.fromisoformat(x["at"]).timestamp() for x in log]
    spent = [x["waited_for_items_s"] + x["model_s"] + x["write_s"] for x in log]
    begin = min(end - s for end, s in zip(ends, spent, strict=True))
    return max(ends) - begin, whole_s, sum(x["n_rows"] for x in log)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure runs over a corpus.")
    parser.add_argument("parts", nargs="*", help="overhead, memory, ray; all if none is named")
    parser.add_argument("--small", action="store_true", help="24 stories, to see that it runs")
    parser.add_argument("--one", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measured(*given.one)))
        return
    parts = given.parts or ["overhead", "memory", "ray"]
    n, sizes = (24, (12, 24, 48)) if given.small else (N_DIFFERENT, SIZES)
    with tempfile.TemporaryDirectory() as top:
        place = Path(top)
        speak(place / "spoken", n)
        data = lines(place / "spoken", n)
        if {"overhead", "memory"} & set(parts):
            show_head()
        if "overhead" in parts:
            show("units", apart(data, place / "units"))
            show("sound", apart(place / "spoken" / "clips", place / "sound"))
        for size in sizes if "memory" in parts else ():
            show("units", apart(lines(place / "spoken", size), place / f"{size}"))
        if "ray" in parts:
            shard = max(1, n // 40)
            one, two = (pool(data, place / f"ray-{k}", k, shard) for k in (1, 2))
            print(f"ray, {n} items, 1 worker: {one[0]:.0f} s at work, {one[1]:.0f} s in all")
            print(f"ray, {n} items, 2 workers: {two[0]:.0f} s at work, {two[1]:.0f} s in all")
            print(f"two workers over one: {one[0] / two[0]:.2f}x at work, {one[1] / two[1]:.2f}x "
                  "in all")  # fmt: skip


if __name__ == "__main__":
    main()
