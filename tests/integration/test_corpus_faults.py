"""Runs over a corpus that are killed, doubled or left without room end as unbroken ones.

`forked_runs.py` does it, in a process of its own; the runs are of 40 clips in 14 shards.
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


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    (place / "clips").mkdir()
    write_clips(place / "clips", 40)
    ended = subprocess.run(
        [sys.executable, str(HERE / "forked_runs.py"), str(place)],
        capture_output=True,
        text=True,
        timeout=540,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 0, ended.stderr
    refused = [json.loads(x)["refused"] for x in ended.stderr.splitlines() if '"refused"' in x]
    return json.loads(ended.stdout) | {"refused": refused}


@pytest.mark.slow
def test_two_unbroken_runs_have_the_same_bytes(found):
    assert found["deterministic"]


@pytest.mark.slow
def test_killed_at_ten_random_moments_a_run_ends_with_the_same_bytes(found):
    assert found["killed"]["same"] == [True] * 10
    # The moments were not all before the first shard, or after the last.
    assert len({n for n in found["killed"]["done_when_killed"] if 0 < n < N_SHARDS}) >= 3


@pytest.mark.slow
def test_killed_ten_times_in_a_row_too(found):
    assert found["again"]["same"]


@pytest.mark.slow
def test_two_processes_share_a_run_and_each_shard_is_done_once(found):
    assert found["doubled"]["statuses"] == [0, 0, 0]
    assert found["doubled"]["shards"] == list(range(N_SHARDS))
    assert found["doubled"]["n_processes"] == 2
    assert found["doubled"]["same"] == [True, True]  # also when one of them was killed


@pytest.mark.slow
def test_without_room_it_says_so_and_goes_on_later(found):
    assert found["full"] == {"statuses": [3, 0], "left": [], "same": True}
    assert "words" in found["refused"][0]
    assert "could not be written (File too large), expected room for it" in found["refused"][0]


@pytest.mark.slow
def test_on_a_full_disk_it_says_so_and_goes_on_later(found):
    if found["disk"] is None:
        pytest.skip("mounting a small file system is not allowed here")
    assert found["disk"]["statuses"] == [3, 0]
    assert 0 < found["disk"]["done_when_full"] < N_SHARDS
    assert found["disk"]["same"]
    assert "could not be written (No space left on device)" in found["refused"][-1]
