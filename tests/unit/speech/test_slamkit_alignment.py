"""slamkit's metadata, its lines of them, and its transcription dictionary."""

import json

import pytest

from slm_lens.errors import AlignmentError
from slm_lens.speech.alignment_files import read_alignment

CAT = {
    "file_name": "cat.flac",
    "text": " the cat",
    "aligned_text": [[" the", 0, 0.5], [" cat", 0.5, 1]],
}
DOG = {"file_name": "dog.flac", "text": "dog", "aligned_text": [["dog", 0.25, 1.5]]}
THE_CAT = [("the", 0.0, 0.5), ("cat", 0.5, 1.0)]


def read(path, content, **options):
    path.write_text(content)
    return [(w.word, w.start_s, w.end_s) for w in read_alignment(path, **options)]


def test_metadata_of_one_clip(tmp_path):
    assert read(tmp_path / "a.json", json.dumps(CAT)) == THE_CAT
    assert read(tmp_path / "a.jsonl", json.dumps(CAT)) == THE_CAT


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_one_line_for_each_clip(tmp_path, name):
    lines = json.dumps(CAT) + "\n\n" + json.dumps(DOG) + "\n"
    assert read(tmp_path / name, lines, utterance="cat.flac") == THE_CAT
    assert read(tmp_path / name, lines, utterance="dog.flac") == [("dog", 0.25, 1.5)]
    with pytest.raises(
        AlignmentError, match=r"2 utterances \('cat.flac', 'dog.flac'\).*utterance="
    ):
        read_alignment(tmp_path / name)
    with pytest.raises(LookupError, match=r"utterance='cat', expected one of 'cat.flac', 'dog"):
        read_alignment(tmp_path / name, utterance="cat")


def test_a_list_of_clips(tmp_path):
    assert read(tmp_path / "a.json", json.dumps([CAT, DOG]), utterance="cat.flac") == THE_CAT


def test_a_transcription_dictionary_with_keys_in_any_order(tmp_path):
    words = [
        {"score": 0.5, "end": 0.5, "start": 0.0, "word": " the"},
        {"word": "cat", "start": 0.5, "end": 1.0},
    ]
    data = {"audio/cat.flac": words, "audio/dog.flac": [{"word": "dog", "start": 0, "end": 1}]}
    path = tmp_path / "a.json"
    assert read(path, json.dumps(data), utterance="audio/cat.flac") == THE_CAT
    assert read(path, json.dumps({"x": words})) == THE_CAT


def test_a_transcribed_word_without_times_follows_the_option(tmp_path):
    words = [
        {"word": "a", "start": 0, "end": 1},
        {"word": "7"},
        {"word": "b", "start": 2, "end": 3},
    ]
    path = tmp_path / "a.json"
    with pytest.raises(AlignmentError, match=r"got no times for 1 of 3 words \('7'\)"):
        read(path, json.dumps({"x": words}))
    read_words = read(path, json.dumps({"x": words}), missing="interpolate")
    assert read_words[1] == ("7", 1.0, 2.0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([CAT, CAT], r"got two clips named 'cat.flac'"),
        (
            {**CAT, "aligned_text": [["the", 0, 1, 0.9]]},
            r"got \['the', 0, 1, 0.9\], expected \[word",
        ),
        ({**CAT, "aligned_text": [[0, 1, "the"]]}, r"got the word 0, expected a string"),
        ({**CAT, "aligned_text": "the"}, r"clip 0: got no `aligned_text`"),
        ([CAT, {"file_name": "x", "units": [1]}], r"clip 1: got no `aligned_text`.*features file"),
        ({"aligned_text": []}, r"clip 0: got no `file_name`"),
        ({**CAT, "aligned_text": []}, r"Alignment: got no words"),
        ({**CAT, "aligned_text": [[" ", 0, 1]]}, r"word 0 ''.*without surrounding spaces"),
        ({**CAT, "aligned_text": [["a", 0, float("nan")]]}, r"word 0 'a'.*expected finite times"),
    ],
)
def test_broken_files_are_named(tmp_path, data, message):
    with pytest.raises(AlignmentError, match=message):
        read(tmp_path / "a.json", json.dumps(data))
