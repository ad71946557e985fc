"""Runs over a corpus that are killed, doubled, or left without room; prints JSON.

A process of its own, so that children are forked from one that has loaded the model and never ran
anything: a pool of threads (polars has one) does not survive a fork.
``python forked_runs.py FOLDER``
"""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path

import torch

import slm_lens
from slm_lens.corpus.run_config import run_config
from slm_lens.errors import RunError

N_KILLS = 10


class Runs:
    def __init__(self, place: Path, clips: Path) -> None:
        self.place = place
        self.model = slm_lens.load("organism")
        self.config = run_config(
            {
                "model": {"name": "organism"},
                "data": {"format": "folder", "path": str(clips)},
                "out": str(place / "whole"),
                "items_per_shard": 3,
                "tokens_per_batch": 400,
                "phases": {"n_draws": 4},
            }
        )

    def run(self, name: str) -> None:
        slm_lens.run_corpus(replace(self.config, out=str(self.place / name)), model=self.model)

    def forked(self, name: str, *, file_limit: int | None = None) -> int:
        """A child that runs; ends with 0, or 3 after a RunError, whose text it leaves."""
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            torch.set_num_threads(1)  # makes torch's pool anew before threads ask for it
            if file_limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
            self.run(name)
            status = 0
        except RunError as error:
            sys.stderr.write(json.dumps({"refused": str(error)}) + "\n")
            status = 3
        except BaseException:  # noqa: BLE001 (the child ends here, whatever it was)
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def content(self, name: str) -> dict[str, bytes]:
        folder = self.place / name
        files = [folder / "plan.parquet", *folder.glob("*/*.parquet")]
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(files)}

    def log(self, name: str) -> list[dict]:
        lines = (self.place / name / "log.txt").read_text().splitlines()
        return [json.loads(line) for line in lines]


def status_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed(runs: Runs, seconds: float) -> dict:
    """Ten runs, each killed at a random moment and then begun again."""
    rng, same, done = random.Random(0), [], []
    whole = runs.content("whole")
    for i in range(N_KILLS):
        pid = runs.forked(f"killed-{i}")
        time.sleep(rng.uniform(0.02, 1.05 * seconds))
        os.kill(pid, signal.SIGKILL)
        status_of(pid)
        folder = runs.place / f"killed-{i}" / "items"
        done.append(len(list(folder.glob("[0-9]*.parquet"))) if folder.exists() else 0)
        assert status_of(runs.forked(f"killed-{i}")) == 0
        same.append(runs.content(f"killed-{i}") == whole)
    return {"same": same, "done_when_killed": done}


def killed_again_and_again(runs: Runs, seconds: float) -> dict:
    """One run that is killed ten times before it may end."""
    rng = random.Random(1)
    for _ in range(N_KILLS):
        pid = runs.forked("again")
        time.sleep(rng.uniform(0.3, 0.9) * seconds)
        os.kill(pid, signal.SIGKILL)
        status_of(pid)
    assert status_of(runs.forked("again")) == 0
    return {"same": runs.content("again") == runs.content("whole")}


def doubled(runs: Runs, seconds: float) -> dict:
    """Two processes on one folder; then two of which one is killed."""
    statuses = [status_of(pid) for pid in [runs.forked("two"), runs.forked("two")]]
    done = [line["shard"] for line in runs.log("two")]
    by = {line["pid"] for line in runs.log("two")}
    first, second = runs.forked("left"), runs.forked("left")
    time.sleep(0.5 * seconds)
    os.kill(first, signal.SIGKILL)
    status_of(first)
    return {
        "statuses": [*statuses, status_of(second)],
        "shards": sorted(done),
        "n_processes": len(by),
        "same": [runs.content(n) == runs.content("whole") for n in ("two", "left")],
    }


def without_room(runs: Runs) -> dict:
    """Files may not pass a size that the plan stays under and the words do not."""
    words = max(len(b) for n, b in runs.content("whole").items() if n.startswith("words"))
    status = status_of(runs.forked("full", file_limit=words - 1))
    left = [p.name for p in (runs.place / "full").rglob("*.part*")]
    again = status_of(runs.forked("full"))
    same = runs.content("full") == runs.content("whole")
    return {"statuses": [status, again], "left": left, "same": same}


def on_a_small_disk(runs: Runs) -> dict | None:
    """The same on a file system that is full; None where mounting is not allowed."""
    size = sum(map(len, runs.content("whole").values())) * 2 // 3
    (runs.place / "disk").mkdir()
    disk = str(runs.place / "disk")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk]
    if subprocess.run(mount, capture_output=True).returncode:
        return None
    try:
        status = status_of(runs.forked("disk/run"))
        done = len(list((runs.place / "disk/run/items").glob("[0-9]*.parquet")))
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        again = status_of(runs.forked("disk/run"))
        same = runs.content("disk/run") == runs.content("whole")
    finally:
        subprocess.run(["umount", disk], check=True)
    return {"statuses": [status, again], "done_when_full": done, "same": same}


def main() -> None:
    torch.set_num_threads(1)
    place = Path(sys.argv[1])
    runs = Runs(place, place / "clips")
    assert status_of(runs.forked("whole")) == 0
    begin_s = time.monotonic()
    assert status_of(runs.forked("timed")) == 0
    seconds = time.monotonic() - begin_s
    found = {
        "seconds": seconds,
        "deterministic": runs.content("timed") == runs.content("whole"),
        "killed": killed(runs, seconds),
        "again": killed_again_and_again(runs, seconds),
        "doubled": doubled(runs, seconds),
        "full": without_room(runs),
        "disk": on_a_small_disk(runs),
    }
    sys.stdout.write(json.dumps(found))


main()
