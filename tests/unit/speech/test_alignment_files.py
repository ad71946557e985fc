"""What holds for every alignment format: choosing it, repairing times, writing."""

import inspect
import json
import os
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slm_lens.errors import AlignmentError
from slm_lens.speech.alignment import AlignedWord, Alignment
from slm_lens.speech.alignment_files import ALIGNMENT_FORMATS, read_alignment, write_alignment
from slm_lens.speech.alignments.repair import cut_to_clip, resolve_overlaps


def triples(alignment):
    return [(w.word, w.start_s, w.end_s) for w in alignment]


@pytest.fixture
def ctm(tmp_path):
    """Write words as (word, start, end) and give the path."""

    def write(*words):
        lines = [f"u 1 {start} {end - start} {word}" for word, start, end in words]
        (tmp_path / "a.ctm").write_text("\n".join(lines))
        return tmp_path / "a.ctm"

    return write


@pytest.mark.parametrize("name", ["a.txt", "a.json", "a"])
def test_an_unknown_format_lists_the_known_ones(tmp_path, name):
    (tmp_path / name).write_text(json.dumps({"transcript": "hello"}))
    with pytest.raises(ValueError, match=r"expected one of " + ", ".join(ALIGNMENT_FORMATS)):
        read_alignment(tmp_path / name)


def test_a_format_can_be_named_whatever_the_ending(tmp_path):
    (tmp_path / "a.txt").write_text("u 1 0 1 hello")
    assert triples(read_alignment(tmp_path / "a.txt", format="ctm")) == [("hello", 0.0, 1.0)]


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "empty.ctm").write_text(" \n")
    (tmp_path / "cut.json").write_text('{"segments": [')
    (tmp_path / "cut.jsonl").write_text('{"a": 1}\n{"a": \n')
    for name, message in {
        "absent.ctm": r"got no such file",
        ".": r"got a folder",
        "empty.ctm": r"got an empty file",
        "cut.json": r"got text that is not JSON",
        "cut.jsonl": r"line 2 is not JSON",
    }.items():
        with pytest.raises(AlignmentError, match=message):
            read_alignment(tmp_path / name)


def test_options_that_do_not_fit_are_refused(ctm, tmp_path):
    path = ctm(("a", 0, 1))
    with pytest.raises(
        ValueError, match=r"got tier='words' for a file of format ctm.*only for text"
    ):
        read_alignment(path, tier="words")
    (tmp_path / "a.json").write_text('{"word_segments": []}')
    with pytest.raises(ValueError, match=r"got utterance='u' for a file of format whisperx"):
        read_alignment(tmp_path / "a.json", utterance="u")


@pytest.mark.parametrize(
    ("option", "valid"),
    [
        ("format", "None, 'textgrid'"),
        ("overlap", "'refuse', 'trim'"),
        ("missing", "'refuse', 'inte"),
    ],
)
def test_an_unknown_value_lists_the_valid_ones(ctm, option, valid):
    unchecked = inspect.unwrap(read_alignment)  # beartype would be first to refuse the value
    with pytest.raises(ValueError, match=rf"got {option}='no', expected one of \({valid}"):
        unchecked(ctm(("a", 0, 1)), **{option: "no"})


def test_overlaps_are_refused_by_name_or_trimmed_at_the_middle(ctm):
    path = ctm(("a", 0.0, 1.0), ("b", 0.5, 1.5), ("c", 1.25, 2.0))
    with pytest.raises(
        AlignmentError, match=r"'a' at \[0, 1\] s and then 'b' at \[0.5, 1.5\] s.*trim"
    ):
        read_alignment(path)
    # a and b share 0.5..1, b and c share 1.25..1.5.
    expected = [("a", 0.0, 0.75), ("b", 0.75, 1.375), ("c", 1.375, 2.0)]
    assert triples(read_alignment(path, overlap="trim")) == expected


@pytest.mark.parametrize(
    "words",
    [
        [("a", 0.0, 2.0), ("b", 0.5, 1.0)],  # inside
        [("a", 1.0, 2.0), ("b", 0.5, 2.5)],  # before
        [("a", 1.0, 2.0), ("b", 0.0, 0.5)],  # order
        [("a", 0.0, 1.0), ("b", 0.2, 1.2), ("c", 0.4, 1.4)],  # c starts before b's trimmed start
    ],
)
def test_trimming_does_not_reorder(ctm, words):
    with pytest.raises(AlignmentError, match=r"expected words in time order, neither inside"):
        read_alignment(ctm(*words), overlap="trim")


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 10)), min_size=1, max_size=6).map(sorted)
)
def test_trimming_refuses_or_gives_an_alignment(spans):
    words = [AlignedWord(f"w{i}", s / 8, (s + d) / 8) for i, (s, d) in enumerate(spans)]
    try:
        trimmed = resolve_overlaps(words, trim=True, where="here")
    except AlignmentError:
        return
    Alignment(tuple(trimmed))
    for before, after in zip(words, trimmed, strict=True):
        assert before.start_s <= after.start_s <= after.end_s <= before.end_s


def test_words_past_the_clip_are_refused_by_name_or_cut(ctm):
    path = ctm(("a", 0.0, 1.0), ("b", 1.0, 2.04))
    assert triples(read_alignment(path, clip_duration_s=2.0))[1] == ("b", 1.0, 2.0)
    assert triples(read_alignment(path, clip_duration_s=3.0))[1] == ("b", 1.0, 2.04)
    with pytest.raises(AlignmentError, match=r"'b' at \[1, 2.04\] s in a clip of 1.9 s.*0.05 s"):
        read_alignment(path, clip_duration_s=1.9)
    with pytest.raises(AlignmentError, match=r"in a clip of 2 s.*tolerance 0.01 s"):
        read_alignment(path, clip_duration_s=2.0, clip_tolerance_s=0.01)


def test_a_word_that_starts_after_the_clip_is_not_cut_to_nothing():
    with pytest.raises(AlignmentError, match=r"'a' at \[1.01, 1.02\] s in a clip of 1 s"):
        cut_to_clip(
            [AlignedWord("a", 1.01, 1.02)], clip_duration_s=1.0, tolerance_s=0.05, where="here"
        )


WORDS = Alignment(
    (AlignedWord("the", 0.1, 0.30000000000000004), AlignedWord('"naïve"', 1 / 3, 1.00001))
)


@pytest.mark.parametrize("name", ["clip.TextGrid", "clip.json"])
def test_what_is_written_is_read_back_exactly(tmp_path, name):
    (tmp_path / name).write_text("old")
    write_alignment(tmp_path / name, WORDS, clip_duration_s=1.25)
    assert triples(read_alignment(tmp_path / name, clip_duration_s=1.25)) == triples(WORDS)
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("round")


@settings(max_examples=25)  # each writes a file
@given(
    st.lists(
        st.tuples(st.floats(1e-3, 1.0), st.floats(0.0, 1.0), st.text("aé'\"日 ", min_size=1)),
        min_size=1,
        max_size=4,
    )
)
@pytest.mark.parametrize("ending", ["TextGrid", "json"])
def test_any_alignment_survives_the_round_trip(folder, ending, rows):
    words, time_s = [], 0.0
    for duration_s, pause_s, text in rows:
        start_s = time_s + pause_s
        time_s = start_s + duration_s
        words.append(AlignedWord(text.strip() or "x", start_s, time_s))
    path = folder / f"a.{ending}"
    write_alignment(path, Alignment(tuple(words)), clip_duration_s=time_s)
    for read, written in zip(read_alignment(path), words, strict=True):
        assert read.word == written.word
        # praatio writes a number within 1e-14 of a whole one as that.
        times_s = (written.start_s, written.end_s)
        assert (read.start_s, read.end_s) == pytest.approx(times_s, rel=1e-13, abs=0)


def test_slamkit_metadata_carries_leading_spaces(tmp_path):
    write_alignment(tmp_path / "clip.json", WORDS)
    written = json.loads((tmp_path / "clip.json").read_text(encoding="utf-8"))
    assert written == {
        "file_name": "clip",
        "text": ' the "naïve"',
        "aligned_text": [[" the", 0.1, 0.30000000000000004], [' "naïve"', 1 / 3, 1.00001]],
    }
    write_alignment(tmp_path / "clip.json", WORDS, file_name="clip.flac")
    assert json.loads((tmp_path / "clip.json").read_text())["file_name"] == "clip.flac"


def test_what_cannot_be_written_is_refused_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "clip.TextGrid"
    path.write_text("old")
    for words, message in {
        (("sp", 0.0, 1.0),): r"got 'sp' at \[0.0, 1.0\] s, expected words that last",
        (("a", 1.0, 1.0),): r"got 'a' at \[1.0, 1.0\] s, expected words that last",
        (("a", 1.0, 2.0),): r"'a' at \[1, 2\] s in a clip of 1.5 s",
    }.items():
        alignment = Alignment(tuple(AlignedWord(*w) for w in words))
        with pytest.raises(AlignmentError, match=r"write_alignment: .*" + message):
            write_alignment(path, alignment, clip_duration_s=1.5)
    for options in ({}, {"clip_duration_s": 2.0, "file_name": "x"}):
        with pytest.raises(ValueError, match=r"expected a TextGrid to have a length and no file"):
            write_alignment(path, WORDS, **options)
    with pytest.raises(
        ValueError, match=re.escape("got ending '.ctm', expected .TextGrid or .json")
    ):
        write_alignment(tmp_path / "clip.ctm", WORDS)
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", "[" * 100_000),
        ("a.json", '{"aligned_text": [["a", 0, 1' + "0" * 5000 + "]]}"),
        ("a.jsonl", "{}\n" + '{"a":' * 100_000),
    ],
)
def test_json_without_an_end_is_no_json(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(AlignmentError, match=r"not JSON.*Is the file whole"):
        read_alignment(tmp_path / name)


def test_what_is_nested_deeply_is_named_in_few_characters(tmp_path):
    """JSON may be nested so deeply that it can be read and not be shown."""
    for depth in range(900, 1000):
        nested = "[" * depth + "]" * depth
        (tmp_path / "a.json").write_text('{"file_name": "a", "aligned_text": [' + nested + "]}")
        with pytest.raises(AlignmentError) as caught:
            read_alignment(tmp_path / "a.json")
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.ctm", "word " * 10_000),
        (
            "a.json",
            json.dumps(
                {"tiers": {f"t{i}": {"type": "interval", "entries": []} for i in range(10_000)}}
            ),
        ),
        ("a.json", json.dumps({"file_name": "a", "aligned_text": [["x" * 10_000] * 2]})),
    ],
)
def test_messages_are_short_whatever_the_file(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(AlignmentError, match="expected") as caught:
        read_alignment(tmp_path / name)
    assert len(str(caught.value)) < 1000


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.ctm")
    with pytest.raises(AlignmentError, match="got a pipe or device"):
        read_alignment(tmp_path / "a.ctm")


def test_many_words_and_clips_are_read_in_one_pass(tmp_path):
    n = 20_000
    words = ", ".join(['{"word": "a"}'] * n)
    (tmp_path / "a.json").write_text(
        '{"segments": [{"start": 0, "end": 1, "words": [' + words + "]}]}"
    )
    clips = [json.dumps({"file_name": f"{i}", "aligned_text": [["a", 0, 1]]}) for i in range(n)]
    (tmp_path / "a.jsonl").write_text("\n".join(clips))
    began_s = time.process_time()
    placed = read_alignment(tmp_path / "a.json", missing="interpolate")
    assert triples(placed)[n // 2] == ("a", pytest.approx(0.5), pytest.approx(0.5 + 1 / n))
    assert len(read_alignment(tmp_path / "a.jsonl", utterance="7")) == 1
    assert time.process_time() - began_s < 5  # each looked for among all others: half a minute
