"""Fuzz the readers, guided by coverage: ``python tests/fuzz/fuzz.py [TARGET] --runs N --seed S``.

Without a target every one of them is fuzzed, in a process of its own, and a table is printed. An
input that makes a reader raise what it may not, hang, or take too much memory is kept in
``runs/fuzz/``, and the command fails. It needs ``pip install 'slm-lens[fuzz]'``.
"""

import argparse
import importlib
import re
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

FOUND = Path("runs/fuzz")
LONGEST_S = 10
MOST_MEGABYTES = 3000
SLOW = ("clip_folder", "pairs_parquet", "parquet", "plan", "sound_bytes", "sound_file")
"""What opens Parquet or sound for each input gets a quarter of the inputs."""


def fuzz(name: str, n_inputs: int, seed: int) -> None:
    """Fuzz one target in this process, which ends with it."""
    try:
        atheris: Any = importlib.import_module("atheris")
    except ImportError:
        raise ImportError(
            "fuzz: got no atheris, expected it. Run `pip install 'slm-lens[fuzz]'`."
        ) from None
    with atheris.instrument_imports(include=["slm_lens"]):
        from targets import TARGETS, attempt
    from mutations import MOST_BYTES, mutated

    target = TARGETS[name]
    corpus = FOUND / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for old in corpus.iterdir():
        old.unlink()
    for i, content in enumerate(target.seeds):
        (corpus / f"seed-{i}").write_bytes(content)

    def mutator(content: bytes, max_size: int, drawn: int) -> bytes:
        random = Random(drawn)
        if random.random() < 0.5:
            return atheris.Mutate(content, max_size)
        return mutated(content, random, target.seeds)[:max_size]

    def once(content: bytes) -> None:
        attempt(target, content)

    options = {
        "runs": n_inputs, "seed": seed, "max_len": MOST_BYTES, "timeout": LONGEST_S,
        "rss_limit_mb": MOST_MEGABYTES, "artifact_prefix": f"{FOUND}/{name}-", "len_control": 0,
        "print_final_stats": 1,
    }  # fmt: skip
    arguments = [sys.argv[0], *(f"-{k}={v}" for k, v in options.items()), str(corpus)]
    atheris.Setup(arguments, once, custom_mutator=mutator)
    atheris.Fuzz()


def fuzz_all(names: list[str], n_inputs: int, seed: int) -> int:
    """Fuzz targets one after the other, and print a table."""
    FOUND.mkdir(parents=True, exist_ok=True)
    row = "{:<15} {:>9} {:>8} {:>9} {:>8}"
    print(row.format("target", "inputs", "seconds", "coverage", "crashes"))
    n_crashes = 0
    for name in names:
        runs = max(1, n_inputs // 4) if name in SLOW else n_inputs
        command = [sys.executable, __file__, name, "--runs", str(runs), "--seed", str(seed)]
        begun = time.monotonic()
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        seconds = time.monotonic() - begun
        said = ended.stdout.decode(errors="replace")
        (FOUND / f"{name}.log").write_text(said)
        coverage = re.findall(r"cov: (\d+)", said)[-1:] or ["?"]
        inputs = re.findall(r"number_of_executed_units: (\d+)", said)[-1:] or ["?"]
        n_crashes += ended.returncode != 0
        print(
            row.format(name, inputs[0], f"{seconds:.0f}", coverage[0], int(ended.returncode != 0)),
            flush=True,
        )
        if ended.returncode != 0:
            print(
                "\n".join(re.findall(r"(?m)^ *===.*\n.*|.*ERROR.*|.*written to.*", said)),
                flush=True,
            )
    return int(n_crashes > 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", nargs="*")
    parser.add_argument("--runs", type=int, default=200_000, help="inputs of each target")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if len(given.target) == 1:
        fuzz(given.target[0], given.runs, given.seed)
    names = given.target
    if not names:
        from targets import TARGETS

        names = list(TARGETS)
    return fuzz_all(names, given.runs, given.seed)


if __name__ == "__main__":
    sys.exit(main())
