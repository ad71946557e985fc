"""Units keep their time, whatever is collapsed."""

import jaxtyping
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slm_lens.speech.units import Units, deduplicate

FRAMES = st.lists(st.integers(0, 3), min_size=1, max_size=60).map(torch.tensor)


@given(FRAMES)
def test_repeating_the_runs_gives_back_the_frames(frames):
    runs, durations_frames = deduplicate(frames)
    assert runs.repeat_interleave(durations_frames).tolist() == frames.tolist()
    assert (runs[1:] != runs[:-1]).all()


@given(FRAMES, st.sampled_from([12.5, 24.99, 25.0, 50.0]), st.booleans())
def test_spans_tile_the_clip(frames, frame_rate_hz, dedup):
    units = Units.from_frames(frames, frame_rate_hz=frame_rate_hz, dedup=dedup)
    assert units.to_frames().tolist() == frames.tolist()
    assert units.starts_s[0] == 0
    assert units.starts_s[1:].tolist() == units.ends_s[:-1].tolist()
    assert units.ends_s[-1] == units.duration_s == len(frames) / frame_rate_hz


@given(FRAMES, st.floats(0, 1, exclude_max=True))
def test_time_to_frame_to_time_moves_less_than_one_hop(frames, where):
    units = Units.from_frames(frames, frame_rate_hz=25.0, dedup=True)
    time_s = where * units.duration_s
    sounding = int((units.ends_s > time_s).nonzero()[0])
    assert units.starts_s[sounding] <= time_s < units.ends_s[sounding]
    assert units.ids[sounding] == frames[int(time_s * 25.0)]


def test_times_by_hand():
    units = Units.from_frames(torch.tensor([7, 7, 7, 2, 2, 7]), frame_rate_hz=25.0, dedup=True)
    assert units.ids.tolist() == [7, 2, 7]
    assert units.durations_frames.tolist() == [3, 2, 1]
    assert units.starts_s.tolist() == [0.0, 0.12, 0.2]
    assert units.ends_s.tolist() == [0.12, 0.2, 0.24]
    assert (units.duration_s, len(units), units.ends_s.dtype) == (0.24, 3, torch.float64)


def test_an_empty_clip_is_refused_with_the_likely_cause():
    with pytest.raises(ValueError, match=r"got 0 frames, expected at least 1.*one hop"):
        deduplicate(torch.tensor([], dtype=torch.int64))


@pytest.mark.parametrize(
    ("ids", "durations_frames", "frame_rate_hz", "message"),
    [
        ([], [], 25.0, r"got ids \[\], expected at least one"),
        ([0, -1], [1, 1], 25.0, r"got ids \[0, -1\], expected at least one id, all >= 0"),
        ([0, 1], [1, 0], 25.0, "got a duration under 1 frame"),
        ([0], [1], 0.0, r"got frame_rate_hz=0.0, expected a positive number"),
        ([0], [1], float("nan"), r"got frame_rate_hz=nan, expected a positive number"),
    ],
)
def test_units_that_make_no_sense_are_refused(ids, durations_frames, frame_rate_hz, message):
    with pytest.raises(ValueError, match=message):
        Units(
            ids=torch.tensor(ids, dtype=torch.int64),
            durations_frames=torch.tensor(durations_frames, dtype=torch.int64),
            frame_rate_hz=frame_rate_hz,
        )


@pytest.mark.parametrize("odd", [torch.tensor([1.5]), torch.tensor([True]), [3]], ids=repr)
def test_ids_and_durations_are_whole_numbers(odd):
    jaxtyping.config.update("jaxtyping_disable", True)  # users have no type checks
    try:
        one = torch.tensor([1])
        with pytest.raises(TypeError, match=r"Units: got ids of .*, expected a tensor of whole"):
            Units(ids=odd, durations_frames=one, frame_rate_hz=25)
        with pytest.raises(TypeError, match=r"Units: got durations_frames of .*whole numbers"):
            Units(ids=one, durations_frames=odd, frame_rate_hz=25)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
