"""Two runs that fit: what is refused, what is found, and which way states go."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from runs_by_hand import TEXT_MARKER, run

from slm_lens.interventions.pairs.matching import SpanMatch, match_words
from slm_lens.interventions.pairs.moving import FITS
from slm_lens.interventions.pairs.run_pair import DIRECTIONS, RunPair

CLEAN = run([("the", [10]), ("zebra", [12, 13, 14]), ("the", [10, 11])], after=[TEXT_MARKER])
CORRUPTED = run([("the", [10]), ("tiger", [20]), ("the", [10, 11])], after=[TEXT_MARKER])


def pair(**changes):
    given = {"name": "zebra", "clean": CLEAN, "corrupted": CORRUPTED, "answer": (5,), "foil": (6,),
             "matches": match_words(CLEAN, CORRUPTED)}  # fmt: skip
    return RunPair(**given | changes)


def test_matches_are_found_by_role():
    roles = {r: [m.label for m in pair().of_role(r)] for r in ("before", "changed", "after", "end")}
    assert roles == {"before": ["the"], "changed": ["zebra"], "after": ["the"], "end": ["<end>"]}
    with pytest.raises(ValueError, match=r"'zebra': got the role 'start', expected one of \['aft"):
        pair().of_role("start")


def test_matches_are_found_by_word():
    assert [m.clean for m in pair().of_word(" The.")] == [(0, 1), (4, 6)]
    assert [m.role for m in pair().of_word("zebra")] == ["changed"]
    for word in ("tiger", "end", "<end>", "", "..."):
        with pytest.raises(
            ValueError, match=r"got the word '.*', expected one of \['the', 'zebra'"
        ):
            pair().of_word(word)


@pytest.mark.usefixtures("untyped")
def test_runs_and_spans_change_places_with_the_direction():
    assert pair().runs("denoising") == (CLEAN, CORRUPTED)
    assert pair().runs("noising") == (CORRUPTED, CLEAN)
    into_one = pair().move(pair().of_role("changed"), "denoising", "mean")
    assert (into_one.sources.tolist(), into_one.targets.tolist()) == ([1, 2, 3], [1])
    assert into_one.weights.tolist() == [pytest.approx([1 / 3] * 3)]
    into_three = pair().move(pair().of_role("changed"), "noising", "mean")
    assert (into_three.sources.tolist(), into_three.targets.tolist()) == ([1], [1, 2, 3])
    for call in (pair().runs, lambda d: pair().move(pair().matches, d, "mean")):
        with pytest.raises(ValueError, match=r"got direction='up', expected one of \('denoising'"):
            call("up")  # pyright: ignore[reportArgumentType]


def test_all_matches_move_at_once():
    made = pair().move(pair().matches, "denoising", "warp")
    assert made.targets.tolist() == [0, 1, 2, 3, 4]
    states = torch.arange(7.0)[:, None]
    assert made(states)[:, 0].tolist() == [0, 2, 4, 5, 6]  # zebra at its middle


def test_matches_that_do_not_fit_their_way_are_refused():
    with pytest.raises(ValueError, match=r"3 and 1 positions, expected equal lengths"):
        pair().move(pair().matches, "denoising", "equal")
    with pytest.raises(ValueError, match=r"moves_together: got no move, expected at least one"):
        pair().move((), "denoising", "mean")


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.sampled_from(FITS))
def test_noising_is_the_reverse_of_denoising_for_equal_lengths(lengths, fit):
    words = [(f"w{i}", [10] * n) for i, n in enumerate(lengths)]
    clean = run(words)
    other = run([("x", words[0][1]), *words[1:]], before=[TEXT_MARKER])
    both = RunPair("p", clean, other, (5,), (), match_words(clean, other))
    there, back = (both.move(both.matches, d, fit) for d in DIRECTIONS)
    assert torch.equal(there.weights, back.weights)
    assert torch.equal(there.targets, back.targets + 1)
    assert torch.equal(there.sources, back.sources - 1)


@pytest.mark.parametrize(("answer", "foil"), [((), (6,)), ((), ()), ((5, 6), (6, 7))])
def test_an_answer_that_says_nothing_is_refused(answer, foil):
    with pytest.raises(
        ValueError, match=r"'zebra': got answer .* and foil .*, expected at least o"
    ):
        pair(answer=answer, foil=foil)


def test_a_pair_needs_no_foil():
    assert pair(foil=()).foil == ()


def test_a_pair_without_matches_is_refused():
    with pytest.raises(ValueError, match=r"'zebra': got no match, expected spans.*match_runs\("):
        pair(matches=())


@pytest.mark.parametrize(
    ("side", "spans"),
    [
        ("clean", [((0, 2), (0, 1)), ((1, 4), (1, 2))]),  # overlap
        ("clean", [((4, 5), (0, 1)), ((0, 1), (1, 2))]),  # out of order
        ("corrupted", [((0, 1), (0, 1)), ((1, 2), (0, 2))]),
        ("corrupted", [((0, 1), (2, 2))]),  # empty
        ("corrupted", [((0, 1), (4, 6))]),  # behind the end
        ("clean", [((-1, 1), (0, 1))]),
    ],
)
def test_spans_that_overlap_or_leave_their_run_are_refused(side, spans):
    matches = tuple(SpanMatch(f"w{i}", "before", a, b) for i, (a, b) in enumerate(spans))
    with pytest.raises(ValueError, match=rf"got the span .* in the {side} run, expected one of"):
        pair(matches=matches)
