"""A folder of clips, each beside its word times."""

import pytest

from slm_lens.corpus.folder import clips_of
from slm_lens.errors import AlignmentError


def touch(folder, *names):
    for name in names:
        (folder / name).touch()


def test_sounds_are_paired_with_their_word_times_in_order(tmp_path):
    touch(tmp_path, "b.wav", "b.TextGrid", "a.flac", "a.json", "c.OGG", "c.ctm", "notes.txt")
    pairs = [(s.name, a.name) for s, a in clips_of(tmp_path)]
    assert pairs == [("a.flac", "a.json"), ("b.wav", "b.TextGrid"), ("c.OGG", "c.ctm")]
    assert clips_of(str(tmp_path)) == clips_of(tmp_path)


def test_a_clip_without_or_with_two_alignments_is_refused(tmp_path):
    touch(tmp_path, "a.flac")
    with pytest.raises(AlignmentError, match=r"a.flac has 0 alignment files.*'a.TextGrid'"):
        clips_of(tmp_path)
    touch(tmp_path, "a.json", "a.ctm")
    with pytest.raises(AlignmentError, match=r"a.flac has 2 alignment files beside it"):
        clips_of(tmp_path)


def test_a_folder_that_is_absent_or_silent_is_refused(tmp_path):
    with pytest.raises(LookupError, match=r"no folder at .*'held-out' for the clips"):
        clips_of(tmp_path / "absent")
    touch(tmp_path, "a.json")
    with pytest.raises(LookupError, match=r"has no sound file, expected files ending in"):
        clips_of(tmp_path)
