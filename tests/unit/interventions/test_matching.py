"""Which spans of two runs stand for each other, by hand."""

import pytest
from runs_by_hand import TEXT_MARKER, run

from slm_lens.interventions.pairs.matching import (
    SpanMatch,
    match_runs,
    match_units,
    match_word_ends,
    match_words,
)

SPOKEN = run(
    [("the", [10, 11]), ("zebra", [12, 13, 14]), (None, [15]), ("lives", [16, 17])],
    after=[TEXT_MARKER],
)
OTHER = run([("The", [10]), ("tiger", [20, 21]), ("lives.", [16, 17, 18])], after=[TEXT_MARKER])


def test_words_by_number_with_the_end_behind_them():
    assert match_words(SPOKEN, OTHER) == (
        SpanMatch("the", "before", (0, 2), (0, 1)),  # case and full stop make no other word
        SpanMatch("zebra", "changed", (2, 5), (1, 3)),
        SpanMatch("lives", "after", (6, 8), (3, 6)),
        SpanMatch("<end>", "end", (8, 9), (6, 7)),
    )


def test_the_start_is_matched_where_both_runs_have_the_same_tokens():
    written = run([("the", [1]), ("zebra", [2, 3])], before=[TEXT_MARKER, 5])
    other = run([("the", [1]), ("tiger", [4])], before=[TEXT_MARKER, 5])
    assert match_words(written, other) == (
        SpanMatch("<start>", "start", (0, 2), (0, 2)),
        SpanMatch("the", "before", (2, 3), (2, 3)),
        SpanMatch("zebra", "changed", (3, 5), (3, 4)),
    )
    for before in ([TEXT_MARKER, 6], [TEXT_MARKER], []):
        begun_otherwise = run([("the", [1]), ("tiger", [4])], before=before)
        assert match_words(written, begun_otherwise)[0].label == "the"


def test_the_end_needs_a_position_behind_the_last_word_of_both_runs():
    written = run([("the", [1]), ("zebra", [2]), ("lives", [3])])
    assert [m.label for m in match_words(SPOKEN, written)] == ["the", "zebra", "lives"]
    assert [m.label for m in match_words(written, SPOKEN)] == ["the", "zebra", "lives"]


def test_the_end_is_the_last_position_alone():
    longer = run([("the", [10]), ("zebra", [12])], after=[13, 14, TEXT_MARKER])
    assert match_words(longer, run([("a", [10]), ("zebra", [12])], after=[9]))[-1] == SpanMatch(
        "<end>", "end", (4, 5), (2, 3)
    )


def test_a_word_without_a_position_in_one_run_matches_nothing():
    silent = run([("the", []), ("zebra", [12]), ("lives", [16])])
    for pair in ((SPOKEN, silent), (silent, SPOKEN)):
        assert [m.label for m in match_words(*pair)] == ["zebra", "lives"]
        assert {m.role for m in match_words(*pair)} == {"before"}  # no word differs


def test_more_than_one_word_may_differ():
    pair = [run([(w, [i]) for i, w in enumerate(text.split())]) for text in ("a b c d", "a x c y")]
    assert [m.role for m in match_words(*pair)] == ["before", "changed", "after", "changed"]


def test_word_ends_are_the_last_positions_of_words():
    assert match_word_ends(SPOKEN, OTHER) == (
        SpanMatch("the", "before", (1, 2), (0, 1)),
        SpanMatch("zebra", "changed", (4, 5), (2, 3)),
        SpanMatch("lives", "after", (7, 8), (5, 6)),
        SpanMatch("<end>", "end", (8, 9), (6, 7)),
    )
    marked = run([("the", [1, 2])], before=[TEXT_MARKER, 5])
    assert [m.clean for m in match_word_ends(marked, marked)] == [(0, 2), (3, 4)]


def test_units_one_by_one():
    clean = run([("a", [10, 11]), ("b", [3, 4]), ("c", [12, 13])], before=[TEXT_MARKER], after=[9])
    other = run([("a", [10, 19]), ("b", [3]), ("c", [12, 13])], before=[TEXT_MARKER], after=[8])
    assert match_units(clean, other) == (
        SpanMatch("<start>", "start", (0, 1), (0, 1)),
        SpanMatch("unit 0", "before", (1, 2), (1, 2)),
        SpanMatch("unit 1", "changed", (2, 3), (2, 3)),
        SpanMatch("unit 2", "after", (5, 6), (4, 5)),  # what is written between is not matched
        SpanMatch("unit 3", "after", (6, 7), (5, 6)),
        SpanMatch("<end>", "end", (7, 8), (6, 7)),
    )


@pytest.mark.usefixtures("untyped")
def test_the_way_is_chosen_by_name():
    same = (SPOKEN, SPOKEN)
    assert match_runs(*same) == match_runs(*same, by="words") == match_words(*same)
    assert match_runs(*same, by="word_ends") == match_word_ends(*same)
    assert match_runs(*same, by="units") == match_units(*same)
    with pytest.raises(ValueError, match=r"match_runs: got by='roles', expected one of \('words',"):
        match_runs(*same, by="roles")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("matching", [match_words, match_word_ends])
def test_runs_of_other_words_are_refused(matching):
    short = run([("the", [10])])
    without = run([(None, [10, 11])])
    name = matching.__name__
    for other, n in ((short, 1), (without, 0)):
        with pytest.raises(ValueError, match=rf"{name}: got runs of 3 and {n} words.*as many in b"):
            matching(SPOKEN, other)
    with pytest.raises(ValueError, match=r"runs of 0 and 0 words, expected as many in both, at l"):
        matching(without, without)


def test_runs_of_other_units_are_refused():
    with pytest.raises(ValueError, match=r"match_units: got runs of 8 and 6 units.*match_words\("):
        match_units(SPOKEN, OTHER)
    written = run([("the", [1])])
    with pytest.raises(ValueError, match=r"runs of 0 and 0 units, expected as many in both, at"):
        match_units(written, written)
