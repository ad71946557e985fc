"""What contradicts a model's description is refused before it is read."""

import pytest
import torch

from slm_lens import StreamSpec, VocabSpec
from slm_lens.model._inputs import check_units, words_of
from slm_lens.speech.units import Units


def spec(deduplicated):
    stream = StreamSpec(offset=2, count=9, frame_rate_hz=25, deduplicated=deduplicated)
    return VocabSpec(streams={"units": stream}, has_text=False)


def units(frames=(3, 4), rate_hz=25.0, dedup=False):
    return Units.from_frames(torch.tensor(frames), frame_rate_hz=rate_hz, dedup=dedup)


@pytest.mark.parametrize(
    ("deduplicated", "given", "message"),
    [
        (None, units(rate_hz=50.0), r"at 50.0 Hz, expected 25 Hz\. Encode with .*from_speech if"),
        (None, units(rate_hz=24.7), r"at 24.7 Hz, expected 25 Hz"),
        (True, units((3, 3, 4)), r"'units' has repeated units, expected .*dedup=True"),
        (False, units((3, 3, 4), dedup=True), r"of several frames, expected .*dedup=False"),
    ],
)
def test_units_of_another_tokenizer(deduplicated, given, message):
    for streams in (given, {"units": given}):
        with pytest.raises(ValueError, match=message):
            check_units(streams, spec(deduplicated))
    check_units(given, None)


def test_what_fits_or_is_not_said_passes():
    check_units(units(rate_hz=24.99), spec(True))
    check_units(units((3, 3, 4), dedup=True), spec(True))
    check_units(units((3, 3, 4)), spec(False))
    check_units(units((3, 3, 4)), spec(None))


@pytest.mark.parametrize("odd", [[1, 2], torch.tensor([1, 2]), {"units": [1]}, None], ids=repr)
def test_what_is_no_units(odd):
    with pytest.raises(TypeError, match=r"expected Units or streams .*Units\.from_frames"):
        check_units(odd, None)


def test_a_text_has_words():
    assert words_of(" the  zebra ") == ["the", "zebra"]
    with pytest.raises(TypeError, match=r"sequence_from_text: got a int, expected words"):
        words_of(3)
    for empty in ("", "  "):
        with pytest.raises(ValueError, match=r"sequence_from_text: got .*at least one word"):
            words_of(empty)


def test_a_model_asks_for_both(tiny_model):
    with pytest.raises(ValueError, match=r"at 50.0 Hz, expected 25 Hz"):
        tiny_model.sequence_from_units(units(rate_hz=50.0))
    with pytest.raises(ValueError, match="at least one word"):
        tiny_model.sequence_from_text("")
