"""Fitting from streams, going on after an interruption, and stopping early."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

import slm_lens
from slm_lens import FitSettings, fit_tuned_lens, lens_divergence, middle_divergence
from slm_lens.lens.fit_settings import stalled
from slm_lens.lens.tuned_lens import load_tuned_lens

FAST = FitSettings(n_steps=9, batch_size=2, learning_rate=0.01, evaluate_every=2)


@pytest.fixture(scope="module")
def model(tiny_folder):
    return slm_lens.load(tiny_folder.path)


@pytest.fixture(scope="module")
def sequences(model):
    words = "the zebra lives in the savanna"
    texts = [words, "the zebra", "in the savanna", "zebra lives the", "savanna"]
    units = slm_lens.Units(torch.arange(7), torch.ones(7, dtype=torch.int64), 25.0)
    return [*map(model.sequence_from_text, texts), model.sequence_from_units(units)]


@pytest.fixture(scope="module")
def held_out(model):
    return [model.sequence_from_text("lives the zebra in")]


class Killed(Exception):
    """What a killed process is here."""


def passes(sequences, *, killed_at=None):
    """A stream: all but the first sequence, each pass begins one later; may be killed."""
    n_read = itertools.count()

    def one_pass(number):
        rest = sequences[1:]
        for i in range(len(rest)):
            if next(n_read) == killed_at:
                raise Killed
            yield rest[(i + number) % len(rest)]

    return one_pass


def equal(one, other):
    return torch.equal(one.weight, other.weight) and torch.equal(one.bias, other.bias)


def test_a_stream_in_the_same_order_gives_the_same_lens(model, sequences):
    def shuffled(number):  # as documented for sequences in memory
        order = np.random.default_rng([FAST.seed, number]).permutation(len(sequences))
        return (sequences[i] for i in order)

    whole = fit_tuned_lens(model, sequences, FAST)
    assert equal(fit_tuned_lens(model, shuffled, FAST), whole)
    assert not equal(fit_tuned_lens(model, passes(sequences), FAST), whole)


def test_an_iterable_is_read_in_its_own_order_again_and_again(model, sequences):
    class Endless:
        """Never has more than one sequence to give."""

        def __iter__(self):
            return itertools.cycle(sequences)

    class Again:
        def __iter__(self):
            return iter(sequences)

    in_order = fit_tuned_lens(model, lambda _: sequences, FAST)
    assert equal(fit_tuned_lens(model, Endless(), FAST), in_order)
    assert equal(fit_tuned_lens(model, Again(), FAST), in_order)


@pytest.mark.parametrize("killed_at", [3, 7, 10, 11, 17])
def test_a_fit_on_a_stream_goes_on_to_the_bit(model, sequences, held_out, tmp_path, killed_at):
    whole = fit_tuned_lens(model, passes(sequences), FAST, held_out=held_out)
    fit = {"held_out": held_out, "checkpoint": tmp_path, "checkpoint_every": 1}
    with pytest.raises(Killed):
        fit_tuned_lens(model, passes(sequences, killed_at=killed_at), FAST, **fit)
    resumed = fit_tuned_lens(model, passes(sequences), FAST, **fit)
    assert equal(resumed, whole)
    assert resumed.facts == whole.facts
    assert [step for step, _ in whole.facts.evaluations] == [2, 4, 6, 8]


@pytest.mark.parametrize(
    ("values", "patience", "stops"),
    [
        ([3.0, 2.0, 1.0], 1, False),
        ([3.0, 2.0, 1.9], 1, True),  # 5 % lower, 10 % wanted
        ([3.0, 2.0, 1.9, 1.7], 1, False),  # 15 % lower than the best, 2.0
        ([3.0, 2.0, 1.9, 1.85], 2, True),
        ([3.0, 2.0, 2.5, 1.0, 1.0], 2, False),
        ([2.0, 2.0, 2.0, 2.0], None, False),
        ([], 1, False),
    ],
)
def test_when_a_fit_stalls(values, patience, stops):
    settings = FitSettings(patience=patience, min_improvement=0.1)
    assert stalled(list(enumerate(values)), settings) == stops


def test_it_stops_early_and_resumed_is_unbroken_to_the_bit(model, sequences, held_out, tmp_path):
    impatient = dataclasses.replace(FAST, n_steps=40, patience=2, min_improvement=0.9)
    whole = fit_tuned_lens(model, passes(sequences), impatient, held_out=held_out)
    assert whole.facts.n_steps == 6  # the first evaluation improves on nothing, two do not
    assert whole.facts.settings == impatient

    fit = {"held_out": held_out, "checkpoint": tmp_path, "checkpoint_every": 3}
    mortal = passes(sequences, killed_at=9)  # in step 5, after the evaluation of step 4
    with pytest.raises(Killed):
        fit_tuned_lens(model, mortal, impatient, **fit)
    resumed = fit_tuned_lens(model, passes(sequences), impatient, **fit)
    # 12 were read, 5 a pass: two of the last pass are compared again, and no step is left to do.
    again = fit_tuned_lens(model, passes(sequences, killed_at=2), impatient, **fit)
    for lens in (resumed, again):
        assert equal(lens, whole)
        assert lens.facts == whole.facts
    whole.save(tmp_path / "lens")
    assert load_tuned_lens(tmp_path / "lens", model).facts == whole.facts


def test_evaluations_are_the_mean_over_the_middle_layers(model, sequences, held_out):
    settings = dataclasses.replace(FAST, n_steps=4, positions="text")
    lens = fit_tuned_lens(model, sequences, settings, held_out=held_out)
    table = lens_divergence(model, {"it": lens}, held_out)
    rows = table.filter(lens="it", positions="text").sort("layer")["kl_nats"].to_list()
    expected = (rows[0] + rows[1]) / 2  # of 2 layers: 2 // 4 to 6 // 4
    assert lens.facts.evaluations[-1] == (4, pytest.approx(expected, rel=1e-6))
    assert middle_divergence(table, "it", "text") == pytest.approx(expected, rel=1e-12)


class TestRefusals:
    def test_what_can_be_read_once_only(self, model, sequences):
        with pytest.raises(TypeError, match=r"list_iterator, which can be read once only"):
            fit_tuned_lens(model, iter(sequences), FAST)

    def test_a_stream_that_changed(self, model, sequences, tmp_path):
        stream = passes(sequences, killed_at=9)
        with pytest.raises(Killed):
            fit_tuned_lens(model, stream, FAST, checkpoint=tmp_path, checkpoint_every=1)
        with pytest.raises(ValueError, match=r"sequence 2 of pass 1 is not the one .* read"):
            fit_tuned_lens(model, passes(sequences[::-1]), FAST, checkpoint=tmp_path)
        with pytest.raises(ValueError, match=r"sequence 2 of pass 1 is not the one .* read"):
            fit_tuned_lens(model, passes(sequences[:2]), FAST, checkpoint=tmp_path)

    @pytest.mark.parametrize("empty", [0, 1])
    def test_a_pass_without_sequences(self, model, sequences, empty):
        def ends(number):
            return sequences[: 0 if number == empty else 3]

        with pytest.raises(ValueError, match=rf"got no sequence in pass {empty}, expected"):
            fit_tuned_lens(model, ends, FAST)

    def test_other_held_out_sequences(self, model, sequences, held_out, tmp_path):
        fit_tuned_lens(model, sequences, FAST, held_out=held_out, checkpoint=tmp_path)
        with pytest.raises(ValueError, match=r"is the state of another fit"):
            fit_tuned_lens(model, sequences, FAST, checkpoint=tmp_path)

    def test_patience_without_evaluations(self, model, sequences):
        with pytest.raises(ValueError, match=r"patience=2 without held-out sequences"):
            fit_tuned_lens(model, sequences, dataclasses.replace(FAST, patience=2))

    def test_held_out_sequences_of_another_modality(self, model, sequences, held_out):
        settings = dataclasses.replace(FAST, positions="speech")
        with pytest.raises(LookupError, match=r"'tuned' at 'speech' positions, expected one of"):
            fit_tuned_lens(model, sequences, settings, held_out=held_out)
