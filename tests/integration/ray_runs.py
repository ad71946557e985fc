"""Runs by a pool of processes, some of which are killed; writes FOLDER/found.json.

A process of its own, so that Ray's threads and warnings are not the test's.
``python ray_runs.py FOLDER``; the clips are in FOLDER/clips.
"""

import json
import logging
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import ray
import torch

import slm_lens
from slm_lens.corpus.run_config import run_config

PLACE = Path(sys.argv[1])


def config_of(name: str, **engine):
    return run_config(
        {
            "model": {"name": "organism"},
            "data": {"format": "folder", "path": str(PLACE / "clips")},
            "out": str(PLACE / name),
            "items_per_shard": 3,
            "tokens_per_batch": 400,
            "phases": {"n_draws": 4},
            "engine": {"name": "ray", **engine} if engine else {},
        }
    )


def content(name: str) -> dict[str, bytes]:
    folder = PLACE / name
    files = [folder / "plan.parquet", *folder.glob("*/*.parquet")]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(files)}


def log(name: str) -> list[dict]:
    return [json.loads(x) for x in (PLACE / name / "log.txt").read_text().splitlines()]


def kill_workers(name: str, n: int, killed: list[tuple[int, int]]) -> None:
    """Kills the first n processes that hold a shard, each while it does."""
    leases = PLACE / name / "leases"
    while len(killed) < n:
        for lease in leases.glob("[0-9]*.lease"):
            try:
                pid = json.loads(lease.read_bytes())["pid"]
            except (OSError, ValueError):
                continue
            if pid not in [p for p, _ in killed] and len(killed) < n:
                os.kill(pid, signal.SIGKILL)
                killed.append((pid, int(lease.stem)))
        time.sleep(0.005)


def with_losses(name: str, n: int, **engine) -> list[tuple[int, int]]:
    killed: list[tuple[int, int]] = []
    threading.Thread(target=kill_workers, args=(name, n, killed), daemon=True).start()
    slm_lens.run_corpus(config_of(name, **engine))
    return killed


def refusal(run) -> str:
    try:
        run()
    except slm_lens.RunError as error:
        return str(error)
    return ""


def main() -> None:
    torch.set_num_threads(1)
    slm_lens.run_corpus(config_of("local"))
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=100_000_000,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    slm_lens.run_corpus(config_of("two", n_workers=2))
    killed = with_losses("killed", 2, n_workers=2)
    too_many = refusal(lambda: with_losses("given-up", 1, n_workers=1, n_retries=0))
    slm_lens.run_corpus(config_of("given-up"))  # by this process
    (PLACE / "clips" / "zzz.flac").write_bytes(b"no sound")
    strict = replace(config_of("strict", n_workers=1), strict=True)
    found = {
        "same": [content(n) == content("local") for n in ("two", "killed", "given-up")],
        "n_processes": len({line["pid"] for line in log("two")}),
        "shards": sorted(line["shard"] for line in log("two")),
        "killed": killed,
        "done_by_the_killed": [
            line["shard"] for line in log("killed") if line["pid"] in [p for p, _ in killed]
        ],
        "too_many": too_many,
        "strict": refusal(lambda: slm_lens.run_corpus(strict)),
        "leases": [p.name for n in ("two", "killed") for p in (PLACE / n / "leases").iterdir()],
    }
    ray.shutdown()
    (PLACE / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
