"""Density and entropy of units, and words told from their units, by hand."""

import numpy as np
import pytest
import torch

from slm_lens.speech.alignment import AlignedWord, Alignment
from slm_lens.speech.unit_density import entropy_bits, unit_density
from slm_lens.speech.unit_words import unit_histograms, word_type_hits
from slm_lens.speech.units import Units


def test_density_of_a_hand_made_clip():
    # Frames of 0.1 s: 3 3 | 1 | 1-run again later. Ends: 0.2, 0.3, 0.7, 0.8.
    units = Units(torch.tensor([3, 1, 0, 1]), torch.tensor([2, 1, 4, 1]), 10.0)
    words = Alignment(
        (AlignedWord("a", 0.0, 0.25), AlignedWord("b", 0.25, 0.29), AlignedWord("c", 0.29, 0.75))
    )
    density = unit_density(units, words, 6)
    assert density.duration_s == pytest.approx(0.8)
    assert (density.n_frames, density.n_units, density.n_words) == (8, 4, 3)
    # "a" owns the unit that ends at 0.2, "b" none, "c" those that end at 0.3 and 0.7.
    assert (density.n_units_in_words, density.n_words_without_units) == (3, 1)
    assert density.counts.tolist() == [1, 2, 0, 1, 0, 0]
    assert density.n_distinct == 3
    with pytest.raises(ValueError, match=r"got unit 3 of a codebook of 3, expected units below 3"):
        unit_density(units, words, 3)


def test_entropy_by_hand():
    counts = np.array([[2.0, 2, 0, 0], [1, 1, 2, 0], [7, 0, 0, 0], [0, 0, 0, 0]])
    found = entropy_bits(counts)
    assert found[:3].tolist() == pytest.approx([1.0, 1.5, 0.0])
    assert np.isnan(found[3])
    assert entropy_bits(np.full(8, 0.3)) == pytest.approx(3.0)


def test_histograms_count_units():
    found = unit_histograms([torch.tensor([1, 1, 0]), torch.tensor([3])], 4)
    assert found.tolist() == [[1, 2, 0, 0], [0, 0, 0, 1]]


def test_words_are_told_by_the_nearest_example_of_another_group():
    # Word 0 = (1, 0), near the other example of type 0 (cosine 0.8), and equal to word 1 of its own
    # clip, which does not count; type 1 has cosine 0.6, type 2 none outside its clip.
    histograms = np.array([[1.0, 0], [2, 0], [4, 3], [3, 4], [0, 1]])
    types, groups = np.array([0, 1, 0, 1, 2]), np.array([0, 0, 1, 1, 0])
    first, second = (word_type_hits(histograms, types, groups, k=k) for k in (1, 2))
    np.testing.assert_array_equal(first[0], [1, 0, np.nan])
    np.testing.assert_array_equal(second[0], [1, 1, np.nan])
    # Word 2, in clip 1: words 0 and 1 tie (cosine 0.8), type 2 has 0.6.
    np.testing.assert_array_equal(first[2], [0.5, 0.5, 0])
    np.testing.assert_array_equal(second[2], [1, 1, 0])
    # Word 3: type 2 first (0.8), the other two tie for the places 2 and 3.
    np.testing.assert_array_equal(second[3], [0.5, 0.5, 1])


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize("types", [[0, 1], [0, 2, 2]])
def test_types_out_of_step_or_with_gaps_are_refused(types):
    with pytest.raises(ValueError, match=r"word_type_hits: got 3 histograms, 3 groups and types"):
        word_type_hits(np.ones((3, 2)), np.array(types), np.arange(3), k=1)
