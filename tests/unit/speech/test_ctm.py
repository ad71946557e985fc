"""CTM: the fourth column is a duration."""

import pytest

from slm_lens.errors import AlignmentError
from slm_lens.speech.alignment_files import read_alignment

ONE = """;; utterance channel start duration word confidence
u1 1 0.25 0.50 the 0.98

u1 1 0.75 0.25 <eps>
  ;; a comment
u1 1 1.00 0.50 cat
"""


def read(tmp_path, text, **options):
    (tmp_path / "a.ctm").write_text(text)
    return [(w.word, w.start_s, w.end_s) for w in read_alignment(tmp_path / "a.ctm", **options)]


def test_durations_become_ends(tmp_path):
    assert read(tmp_path, ONE) == [("the", 0.25, 0.75), ("cat", 1.0, 1.5)]


def test_rounding_of_start_plus_duration_is_no_overlap(tmp_path):
    assert 0.1 + 0.2 > 0.3
    assert len(read(tmp_path, "u 1 0.1 0.2 a\nu 1 0.3 0.1 b\n")) == 2


def test_one_of_several_utterances(tmp_path):
    several = ONE + "u2 1 0 1 dog\n"
    assert read(tmp_path, several, utterance="u2") == [("dog", 0.0, 1.0)]
    with pytest.raises(AlignmentError, match=r"got 2 utterances \('u1', 'u2'\).*utterance="):
        read(tmp_path, several)
    with pytest.raises(LookupError, match=r"expected one of 'u1', 'u2'. Did you mean 'u2'"):
        read(tmp_path, several, utterance="u22")


@pytest.mark.parametrize(
    "line",
    ["u1 1 0.5 the", "u1 1 0.5 0.5 the 0.9 more", "u1 1 0.5 the 0.5", "u1 1 * * <ALT_BEGIN>"],
)
def test_a_broken_line_is_named_with_its_number(tmp_path, line):
    with pytest.raises(AlignmentError, match=r"line 7: got 'u1 1 .*', expected `utterance channel"):
        read(tmp_path, ONE + line + "\n")


def test_two_channels_are_two_speakers(tmp_path):
    with pytest.raises(AlignmentError, match=r"got channels \['1', '2'\] for 'u1'"):
        read(tmp_path, ONE + "u1 2 1.5 0.5 dog\n")


def test_a_negative_duration_is_refused(tmp_path):
    with pytest.raises(AlignmentError, match=r"a.ctm: Alignment: word 0 'the'.*ends before"):
        read(tmp_path, "u1 1 0.5 -0.25 the\n")


def test_a_file_of_comments_has_no_utterance(tmp_path):
    with pytest.raises(AlignmentError, match=r"got 0 utterances \(\), expected one"):
        read(tmp_path, ";; nothing\n")


def test_hundredths_that_overlap_by_rounding_meet_and_more_is_refused(tmp_path):
    path = tmp_path / "a.ctm"
    path.write_text("a 1 0.00 0.34 the\na 1 0.33 0.20 fox\n")  # 0.335 s, rounded twice
    words = read_alignment(path).words
    times = [t for w in words for t in (w.start_s, w.end_s)]
    assert times == pytest.approx([0, 0.335, 0.335, 0.53])
    path.write_text("a 1 0.00 0.34 the\na 1 0.32 0.20 fox\n")
    with pytest.raises(AlignmentError, match=r"'the' at \[0, 0.34\] s and then 'fox'"):
        read_alignment(path)
