"""The engine "ray": the files of a local run, also when workers are killed.

`ray_runs.py` does it, in a process of its own; the runs are of 40 clips in 14 shards.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from short_clips import write_clips

HERE = Path(__file__).parent
N_SHARDS = 14

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    (place / "clips").mkdir()
    write_clips(place / "clips", 40)
    ended = subprocess.run(
        [sys.executable, str(HERE / "ray_runs.py"), str(place)],
        capture_output=True,
        text=True,
        timeout=540,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads((place / "found.json").read_text())


def test_a_pool_writes_the_bytes_of_a_local_run_and_each_shard_once(found):
    assert found["same"][0]
    assert found["n_processes"] == 2
    assert found["shards"] == list(range(N_SHARDS))
    assert found["leases"] == []


def test_a_worker_that_is_killed_is_replaced_and_its_shard_done_again(found):
    assert len(found["killed"]) == 2
    for _, shard in found["killed"]:
        assert shard not in found["done_by_the_killed"]  # it was in the middle of it
    assert found["same"][1]


def test_too_many_lost_workers_end_the_run_which_goes_on_later(found):
    assert "lost 1 workers" in found["too_many"]
    assert "expected at most n_retries=0" in found["too_many"]
    assert found["same"][2]


def test_what_a_worker_refuses_is_told_in_its_words(found):
    assert "item 'zzz' (zzz.flac) cannot be used at the stage 'read'" in found["strict"]
