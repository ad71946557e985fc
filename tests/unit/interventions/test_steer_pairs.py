"""Steering of pairs beside plain hooks on the Hugging Face model."""

import numpy as np
import pytest
import torch
from hf_hooks import added, logits_of
from tiny_pairs import ANSWER, FOIL, gqa_model, unequal_pair, whole_pair

PAIRS = [unequal_pair(name="a", seed=1), unequal_pair(name="b", seed=5), whole_pair(seed=9)]


@pytest.fixture(scope="module")
def model():
    return gqa_model()


def steer(model, pairs, strengths=(-1.0, 0.5), **options):
    from slm_lens.studies.steer_pairs import steer_pairs

    return steer_pairs(model, pairs, strengths, n_random=1, n_bootstrap=5, **options)


def mean_state(hf, sequence, start, end, layer):
    """What leaves a block, on average over a span."""
    with torch.no_grad():
        states = hf(sequence.tokens[None], output_hidden_states=True).hidden_states
    return states[layer + 1][0, start:end].float().mean(0)


def gap_of(hf, pair, layer, span, vector):
    start, end = span
    with added(hf, "resid_post", layer, start, end, vector.expand(end - start, -1)):
        logits = logits_of(hf, pair.corrupted.tokens[None])[0, -1].double()
    return (logits[ANSWER] - logits[FOIL]).item()


@pytest.fixture(scope="module")
def hf():
    from tiny_speech import make_hf_model

    return make_hf_model(0, n_layers=3)


def test_towards_the_answer_as_by_hand(model, hf):
    found = steer(model, PAIRS[:2], role="changed", layers=[1])
    direction = hf.model.norm.weight * (hf.lm_head.weight[ANSWER] - hf.lm_head.weight[FOIL])
    unit = (direction / direction.norm()).detach()
    for i, pair in enumerate(PAIRS[:2]):
        length = mean_state(hf, pair.corrupted, 3, 7, 1).norm()
        wanted = [gap_of(hf, pair, 1, (3, 7), s * length * unit) for s in (-1, 0.5)]
        assert found.values[0, i, 0].numpy() == pytest.approx(wanted, abs=2e-5)
    assert found.runs == ("a", "b")
    assert found.metrics == ("logit_difference",)


def test_a_pair_has_no_part_in_its_difference(model, hf):
    found = steer(model, PAIRS, vector="difference", role="changed", layers=[0])
    spans = [((3, 6), (3, 7)), ((3, 6), (3, 7)), ((0, 7), (0, 7))]
    gaps, lengths = [], []
    for pair, (clean, corrupted) in zip(PAIRS, spans, strict=True):
        own = mean_state(hf, pair.corrupted, *corrupted, 0)
        gaps.append(mean_state(hf, pair.clean, *clean, 0) - own)
        lengths.append(own.norm())
    others = (gaps[0] + gaps[2]) / 2
    vector = others / others.norm() * lengths[1]
    wanted = [gap_of(hf, PAIRS[1], 0, (3, 7), s * vector) for s in (-1, 0.5)]
    assert found.values[0, 1, 0].numpy() == pytest.approx(wanted, abs=2e-5)


def test_files(model, tmp_path):
    from slm_lens.interventions.steering.dose_response import DoseResponse

    found = steer(model, PAIRS[:2], role="end", layers=[0, 2])
    found.write(tmp_path)
    again = DoseResponse.read(tmp_path)
    assert again.to_frame().equals(found.to_frame())
    assert np.array_equal(again.control.numpy(), found.control.numpy())
    assert again.curves().equals(found.curves())
    assert (again.sites, again.strengths) == (found.sites, found.strengths)
    assert again.provenance == found.provenance


@pytest.mark.usefixtures("untyped")
def test_what_is_refused(model):
    with pytest.raises(ValueError, match="vector='sae', expected one of"):
        steer(model, PAIRS, vector="sae")
    with pytest.raises(ValueError, match="got no pairs"):
        steer(model, [])
    with pytest.raises(ValueError, match="got 1 pair for vector='difference'"):
        steer(model, PAIRS[:1], vector="difference", role="changed")
    with pytest.raises(ValueError, match="'unequal': got the role 'after'"):
        steer(model, [unequal_pair()], role="after")
    from dataclasses import replace

    without = replace(PAIRS[0], foil=())
    with pytest.raises(ValueError, match="the pair 'a' without a foil"):
        steer(model, [without], role="changed")
