"""Spoken facts as trials, with a control that has the same answers."""

import pytest
import torch

from slm_lens.organism.answer_trials import answer_trials
from slm_lens.organism.language import facts


@pytest.mark.slow
def test_trials_and_their_control():
    import slm_lens

    model = slm_lens.load("organism")
    made = answer_trials(model, n_wrong=2)
    about_animals = [f for f in facts() if f.relation in ("home", "food", "colour", "job")]
    n_spoken = sum(f.spoken for f in about_animals)
    assert len(made["spoken"].trials) == 2 * n_spoken
    assert len(made["never_spoken"].trials) == 2 * (len(about_animals) - n_spoken)
    answers = {f"{f.relation}: {f.subject}": f for f in about_animals}
    for kind, of_kind in made.items():
        assert [t.name for t in of_kind.trials] == [t.name for t in of_kind.control]
        for own, other in zip(of_kind.trials, of_kind.control, strict=True):
            fact, wrong = own.name.split("|")
            assert answers[fact].spoken == (kind == "spoken")
            assert wrong in answers[fact].counterfactuals
            assert own.right_start is not None
            assert own.wrong_start is not None
            # Something is left to score, and the prompt differs from the control's.
            assert own.right_start < len(own.right)
            start = min(own.right_start, other.right_start or 0)
            assert not torch.equal(own.right.tokens[:start], other.right.tokens[:start])


def test_other_units_are_refused(tiny_folder):
    import slm_lens

    class Other:
        n_units, sample_rate_hz, frame_rate_hz, dedup = 20, 16_000, 25.0, True

        def encode(self, waveform):
            raise AssertionError(waveform)

    model = slm_lens.load(tiny_folder.path, unit_tokenizer=Other())
    with pytest.raises(ValueError, match="has Other as unit tokenizer, expected an organism's"):
        answer_trials(model)
