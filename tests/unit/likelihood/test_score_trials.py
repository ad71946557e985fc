"""Trials through a model: by hand, one by one and together, within a modality, and at chance."""

import math
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
import torch
from bigrams import bigram_model, sequence
from tiny_speech import N_TEXT, N_UNITS

import slm_lens
from slm_lens import Trial
from slm_lens.likelihood.reader import LikelihoodReader
from slm_lens.likelihood.score_trials import regions_of, rows_of
from slm_lens.likelihood.trial_scores import SCHEMA
from slm_lens.phases.random_weights import random_weights

SPEECH, TEXT = N_TEXT + N_UNITS, N_TEXT + N_UNITS + 1
UNIT = N_TEXT


def units(generator, n):
    ids = [SPEECH, *(N_TEXT + torch.randint(N_UNITS, (n,), generator=generator)).tolist()]
    return sequence(*ids)


def drawn_trials(n, seed=0, longest=12):
    """Right and wrong are drawn alike, with a prompt of three units."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(4, longest + 1, (n, 2), generator=generator).tolist()
    return [
        Trial(str(i), "", units(generator, a), units(generator, b), 4, 4)
        for i, (a, b) in enumerate(lengths)
    ]


@pytest.fixture(scope="module")
def model():
    """Random weights, with the vocabulary of `tiny_speech`."""
    from tiny_speech import make_hf_model, make_vocab, wrap

    return wrap(make_hf_model(), make_vocab())


class TestByHand:
    def test_regions_and_sums(self):
        """P(1|0) = P(2|1) = 2/8, P(0|2) = 3/8 against P(2|0) = 5/8, P(2|2) = 2/8."""
        trial = Trial("t", "p", sequence(0, 1, 2, 0), sequence(0, 2, 2), 2, 1)
        table = slm_lens.score_trials(bigram_model(), [trial]).table
        assert table.schema == SCHEMA
        assert table.drop("sum_log_prob").rows() == [
            ("t", "p", "right", "all", 3),
            ("t", "p", "wrong", "all", 2),
            ("t", "p", "right", "completion", 2),
            ("t", "p", "wrong", "completion", 2),
        ]
        probabilities = [12 / 512, 10 / 64, 6 / 64, 10 / 64]
        assert table["sum_log_prob"].exp().to_list() == pytest.approx(probabilities, rel=1e-4)

    def test_accuracy(self):
        """5/8 above 2/8; 1/8 below 5/8; and two orders of the same factors are a tie."""
        there, back = (0, 1, 2) * 3, (0, 2, 1) * 3
        trials = [
            Trial("above", "", sequence(0, 2), sequence(0, 1)),
            Trial("below", "", sequence(0, 0), sequence(0, 2)),
            Trial("tie", "", sequence(*there, *back, 0), sequence(*back, *there, 0)),
        ]
        scores = slm_lens.score_trials(bigram_model(), trials)
        table = scores.accuracy(by=())
        assert table.select("estimate", "n_trials", "n_ties").rows() == [(0.5, 3, 1)]
        assert set(scores.table["region"]) == {"all"}
        margin = scores.margins()["margin"].to_list()
        assert margin == pytest.approx([math.log(5 / 2), -math.log(5), 0.0], abs=1e-5)


class TestTogether:
    def test_one_at_a_time_is_the_same_to_the_bit(self, model):
        trials = drawn_trials(6)
        reader = LikelihoodReader(model, within="full", forward="fast", caller="a run")
        alone = [row for t in trials for (rows,) in [rows_of(reader, [t])] for row in rows]
        scores = slm_lens.score_trials(model, trials)
        assert scores.table.equals(pl.DataFrame(alone, SCHEMA, orient="row"))
        assert scores.provenance == reader.provenance()
        assert scores.provenance.forward == "fast"

    def test_in_batches_numbers_differ_by_rounding(self, model):
        trials = drawn_trials(7, seed=1)
        alone = slm_lens.score_trials(model, trials, forward="hooked")
        for batch_size in (2, 7):
            many = slm_lens.score_trials(model, trials, batch_size=batch_size, forward="hooked")
            assert many.table.drop("sum_log_prob").equals(alone.table.drop("sum_log_prob"))
            gap = (many.table["sum_log_prob"] - alone.table["sum_log_prob"]).abs()
            assert (gap / alone.table["n_tokens"]).to_numpy().max() < 1e-5
        assert many.provenance.forward == "hooked"

    def test_equal_sequences_tie_wherever_they_run(self, model):
        generator = torch.Generator().manual_seed(5)
        same = units(generator, 9)
        tie = Trial("tie", "", same, replace(same), 3, 3)
        scores = slm_lens.score_trials(model, [*drawn_trials(4), tie], batch_size=5)
        of_tie = scores.margins().filter(pl.col("trial") == "tie")
        assert of_tie["margin"].to_list() == [0.0]


class TestWithin:
    SPOKEN = (SPEECH, UNIT + 1, UNIT + 2)

    def test_a_completion_in_text_after_speech(self):
        """Among all tokens, P(1 | marker) is that of equal logits; then P(2 | 1) = 2/8."""
        trial = Trial(
            "t", "", sequence(*self.SPOKEN, TEXT, 1, 2), sequence(*self.SPOKEN, TEXT, 1, 0), 4, 4
        )
        scores = slm_lens.score_trials(bigram_model(), [trial], within="text")
        assert scores.table["region"].to_list() == ["completion"] * 2
        probabilities = [1 / N_TEXT * 2 / 8, 1 / N_TEXT * 4 / 8]
        assert scores.table["sum_log_prob"].exp().to_list() == pytest.approx(
            probabilities, rel=1e-4
        )
        assert scores.accuracy(region="completion")["estimate"].to_list() == [0.0]
        with pytest.raises(ValueError, match=r"got region='all', which 1 of 1 trials do not have"):
            scores.accuracy()

    def test_markers_are_no_part_of_a_modality(self):
        s = sequence(TEXT, 0, 1, TEXT, 2)
        trial = Trial("t", "", s, s)
        scores = slm_lens.score_trials(bigram_model(), [trial], within="text")
        assert scores.table["n_tokens"].to_list() == [3, 3]
        assert slm_lens.score_trials(bigram_model(), [trial]).table["n_tokens"].to_list() == [4, 4]

    def test_nothing_of_the_modality_is_refused(self):
        trial = Trial("t", "", sequence(*self.SPOKEN), sequence(0, 1), 2, 1)
        match = r"score_trials: got within='text' for the trial 't', whose right sequence has .*Un2"
        with pytest.raises(ValueError, match=match):
            slm_lens.score_trials(bigram_model(), [trial], within="text")
        markers = Trial("m", "", sequence(0, TEXT), sequence(0, 1))
        match = r"'m', whose right sequence has none of it from position 1 on; expected text"
        with pytest.raises(ValueError, match=match):
            slm_lens.score_trials(bigram_model(), [markers], within="text")

    def test_what_can_be_scored_is_known_without_a_run(self):
        reader = LikelihoodReader(bigram_model(), within="speech", forward="fast", caller="a run")
        spoken = sequence(*self.SPOKEN)
        assert regions_of(reader, Trial("t", "", spoken, spoken)) == {"all": (1, 1)}
        written = sequence(0, 1, SPEECH, UNIT)
        mixed = Trial("t", "", written, spoken, 3, 2)
        assert regions_of(reader, mixed) == {"completion": (3, 2)}
        with pytest.raises(ValueError, match=r"a run: got within='speech' for the trial 't'"):
            regions_of(reader, Trial("t", "", written, spoken))


def test_random_weights_are_at_chance(model):
    """Right and wrong are drawn alike; 400 coins stray by 4 deviations, 0.1, once in 16,000."""
    trials = drawn_trials(400, seed=3)
    random = random_weights(model, seed=1)
    scores = slm_lens.score_trials(random, trials, batch_size=100)
    assert scores.provenance.random_weights_seed == 1
    choices: list[Any] = [{}, {"norm": "sum"}, {"region": "completion"}]
    for options in choices:
        (estimate,) = scores.accuracy(n_bootstrap=0, **options)["estimate"]
        assert abs(estimate - 0.5) < 4 * 0.5 / math.sqrt(400)


def test_a_model_that_prefers_some_units_prefers_right_sequences_of_them(model):
    """The other side of the control: units that the model finds likely, against random ones."""
    generator = torch.Generator().manual_seed(0)
    trials = []
    with torch.no_grad():
        for i in range(20):
            wrong = units(generator, 8)
            likely = wrong.tokens[:1]
            for _ in range(8):
                logits = model(likely[None])[0, -1, N_TEXT : N_TEXT + N_UNITS]
                likely = torch.cat([likely, N_TEXT + logits.argmax()[None]])
            trials.append(Trial(str(i), "", sequence(*likely.tolist()), wrong))
    assert slm_lens.score_trials(model, trials).accuracy()["estimate"][0] > 0.9


class TestRefused:
    def test_names_and_sizes(self, model):
        trials = drawn_trials(2)
        for given, match in (
            ([], r"got 0 trials with repeated names \[\]"),
            ([trials[0], trials[0]], r"got 2 trials with repeated names \['0'\]"),
        ):
            with pytest.raises(ValueError, match=match):
                slm_lens.score_trials(model, given)
        with pytest.raises(ValueError, match=r"score_trials: got batch_size=0, expected at least"):
            slm_lens.score_trials(model, trials, batch_size=0)
        long = Trial("long", "", sequence(*[UNIT] * 300), trials[0].wrong)
        with pytest.raises(ValueError, match=r"score_trials: got a sequence of 300 tokens"):
            slm_lens.score_trials(model, [long])

    def test_trials_that_are_none(self):
        two, one = sequence(0, 1), sequence(0)
        refused: list[tuple[Any, str]] = [
            ((two, two, 1, None), r"Trial 't': got right_start=1 and wrong_start=None, expected"),
            ((two, one), r"Trial 't': got a wrong sequence of 1 token"),
            ((two, two, 0, 1), r"got right_start=0, expected 1 <= start < 2"),
            ((two, two, 1, 2), r"got wrong_start=2, expected 1 <= start < 2"),
        ]
        for arguments, match in refused:
            with pytest.raises(ValueError, match=match):
                Trial("t", "", *arguments)

    @pytest.mark.usefixtures("untyped")
    def test_a_model_without_a_vocabulary(self, tiny_folder):
        with pytest.raises(TypeError, match=r"score_trials: got a .* that knows no vocabulary"):
            slm_lens.score_trials(tiny_folder.hf_model, drawn_trials(1))
