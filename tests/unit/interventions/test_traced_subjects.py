"""Subjects of prompts, from pairs of runs."""

from typing import Any

import pytest
from runs_by_hand import run

from slm_lens.interventions.pairs.matching import SpanMatch, match_runs
from slm_lens.interventions.pairs.run_pair import RunPair
from slm_lens.interventions.tracing.traced_subjects import subject_runs


def pair(clean, corrupted, *, by: Any = "words", name="pair", answer=(1,), foil=(2,)):
    return RunPair(name, clean, corrupted, answer, foil, match_runs(clean, corrupted, by))


THE, FOX, RUNS = ("the", [10, 11]), ("fox", [12, 13, 14]), ("runs", [15])
OWL, SEES = ("owl", [16, 17]), ("sees", [18])


@pytest.mark.parametrize("by", ["words", "word_ends"])
def test_the_subject_is_the_word_that_differs(by):
    clean, corrupted = run([THE, FOX, RUNS], before=[30]), run([THE, OWL, RUNS], before=[30])
    (found,) = subject_runs([pair(clean, corrupted, by=by)])
    assert (found.name, found.span, found.answer, found.foil) == ("pair", (3, 6), (1,), (2,))
    assert found.sequence is clean


def test_units_belong_to_the_word_that_holds_them():
    other = ("fix", [12, 19, 14])
    (found,) = subject_runs([pair(run([THE, FOX, RUNS]), run([THE, other, RUNS]), by="units")])
    assert found.span == (2, 5)


def test_words_side_by_side_are_one_subject_with_the_pause_between_them():
    clean = run([THE, FOX, (None, [20]), RUNS])
    (found,) = subject_runs([pair(clean, run([THE, OWL, SEES]))])
    assert found.span == (2, 7)


@pytest.mark.parametrize(
    ("corrupted", "changed"),
    [([OWL, FOX, SEES], r"\['the', 'runs'\]"), ([THE, FOX, RUNS], r"\[\]")],
)
def test_words_apart_or_none_are_refused(corrupted, changed):
    made = pair(run([THE, FOX, RUNS]), run(corrupted))
    with pytest.raises(ValueError, match=rf"subject_runs: got the pair 'pair', .* {changed}"):
        subject_runs([made])


def test_a_change_outside_of_words_is_refused():
    clean, corrupted = run([THE, (None, [20])]), run([THE, (None, [21])])
    made = RunPair("a", clean, corrupted, (1,), (), (SpanMatch("x", "changed", (2, 3), (2, 3)),))
    with pytest.raises(ValueError, match=r"got the pair 'a', whose changed words are \[\]"):
        subject_runs([made])


def test_a_clean_run_counts_once():
    clean, owl, sees = (run([THE, word]) for word in (FOX, OWL, SEES))
    pairs = [pair(clean, owl, name="a"), pair(clean, sees, name="b")]
    with pytest.raises(ValueError, match=r"got the pairs 'a' and 'b' with the same clean run"):
        subject_runs(pairs)
    assert [r.name for r in subject_runs(pairs, repeated="once")] == ["a"]
    other = [pairs[0], pair(clean, sees, name="b", answer=(3,))]
    assert [r.name for r in subject_runs(other)] == ["a", "b"]


def test_an_unknown_option_is_refused(untyped):  # noqa: ARG001
    unknown: Any = "twice"
    with pytest.raises(ValueError, match=r"got repeated='twice', expected one of"):
        subject_runs([], repeated=unknown)
