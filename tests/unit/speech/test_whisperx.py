"""WhisperX JSON: words without times are refused, or placed between their neighbours."""

import json

import pytest

from slm_lens.errors import AlignmentError
from slm_lens.speech.alignment_files import read_alignment


def word(text, start=None, end=None):
    times = {"start": start, "end": end}
    return {"word": text, "score": 0.9} | {k: v for k, v in times.items() if v is not None}


def read(tmp_path, *segments, **options):
    data = {"segments": list(segments), "language": "en"}
    (tmp_path / "a.json").write_text(json.dumps(data))
    return [(w.word, w.start_s, w.end_s) for w in read_alignment(tmp_path / "a.json", **options)]


FIRST = {
    "start": 0.0,
    "end": 1.0,
    "text": " a b",
    "words": [word(" a", 0.25, 0.5), word("b", 0.5, 1)],
}
SECOND = {"start": 2.0, "end": 3.0, "text": " c", "words": [word("c", 2, 3)], "chars": None}


def test_the_words_of_all_segments(tmp_path):
    assert read(tmp_path, FIRST, SECOND) == [("a", 0.25, 0.5), ("b", 0.5, 1.0), ("c", 2.0, 3.0)]


def test_word_segments_without_segments(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"word_segments": FIRST["words"]}))
    assert [w.word for w in read_alignment(tmp_path / "a.json")] == ["a", "b"]


def test_words_without_times_are_refused_by_name(tmp_path):
    segment = {"words": [word("in", 0, 1), word("1984"), word("£5", 1, None), word("x", 2, 3)]}
    with pytest.raises(
        AlignmentError, match=r"no times for 2 of 4 words \('1984', '£5'\).*interpol"
    ):
        read(tmp_path, segment)


@pytest.mark.parametrize(
    ("segment", "expected"),
    [
        # One word: from where its neighbour ends to where the next starts.
        ({"words": [word("a", 0, 1), word("x"), word("b", 1.5, 2)]}, [(0, 1), (1, 1.5), (1.5, 2)]),
        # Two share the room evenly: 1 s between 1 and 2.
        (
            {"words": [word("a", 0, 1), word("x"), word("y"), word("b", 2, 3)]},
            [(0, 1), (1, 1.5), (1.5, 2), (2, 3)],
        ),
        # At the edges the segment's own times are the neighbours.
        (
            {"start": 1.0, "end": 4.0, "words": [word("x"), word("b", 2, 3), word("y")]},
            [(1, 2), (2, 3), (3, 4)],
        ),
        # All unknown: thirds of the segment.
        (
            {"start": 0.0, "end": 3.0, "words": [word("x"), word("y"), word("z")]},
            [(0, 1), (1, 2), (2, 3)],
        ),
        # One time of two is kept: x starts at 1.2, b at 1.8, and y ends at 1.6.
        (
            {"words": [word("a", 0, 1), word("x", 1.2), word("y", None, 1.6), word("b", 1.8, 2)]},
            [(0, 1), (1.2, 1.4), (1.4, 1.6), (1.8, 2)],
        ),
    ],
)
def test_missing_times_are_interpolated_on_request(tmp_path, segment, expected):
    read_times = [w[1:] for w in read(tmp_path, segment, missing="interpolate")]
    assert read_times == [pytest.approx(times) for times in expected]


@pytest.mark.parametrize(
    ("segment", "side"),
    [
        ({"words": [word("x"), word("a", 1, 2)]}, "before"),
        ({"words": [word("a", 1, 2), word("x")]}, "after"),
    ],
)
def test_interpolation_does_not_leave_the_segment(tmp_path, segment, side):
    with pytest.raises(AlignmentError, match=rf"'x': got no time for it, nor for anything {side}"):
        read(tmp_path, FIRST, segment, SECOND, missing="interpolate")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"segments": [{"start": 0, "end": 1, "text": "hi"}]}, r"segment 0: got no `words`.*align"),
        ({"segments": ["hi"]}, r"segment 0: got no `words`"),
        ({"segments": [{"words": ["hi"]}]}, r"segment 0: got the word 'hi', expected an object"),
        ({"segments": [{"start": "0", "words": []}]}, r"got the time '0' for 'the segment'"),
        ({"segments": {}}, r"got no `segments` and no `word_segments`"),
        ({"word_segments": 3}, r"got no `words`"),
        ({"segments": []}, r"Alignment: got no words"),
    ],
)
def test_broken_files_are_named(tmp_path, data, message):
    (tmp_path / "a.json").write_text(json.dumps(data))
    with pytest.raises(AlignmentError, match=message):
        read_alignment(tmp_path / "a.json")
