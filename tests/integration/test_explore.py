"""`explore` on the embedded model: every part is what its own function gives."""

import polars as pl
import pytest
import torch

import slm_lens
from slm_lens.lens.lens_grid import lens_grid
from slm_lens.sequence.utterance import Utterance

CLIP, WORDS = slm_lens.clips_of("held-out")[2]


@pytest.fixture(scope="module")
def model():
    return slm_lens.load("organism")


@pytest.fixture(scope="module")
def found(model):
    return slm_lens.explore(model, CLIP, alignment=WORDS)


def test_words_and_times_are_those_of_the_clip(model, found):
    utterance = slm_lens.read_utterances(model, "held-out")[2]
    assert found.name == utterance.name
    assert found.utterance.sequence.tokens.equal(utterance.sequence.tokens)
    assert tuple(found.words) == utterance.sequence.words
    samples = slm_lens.read_audio(CLIP, sample_rate_hz=16000)
    assert found.audio.waveform.equal(samples)
    assert found.audio.duration_s == len(samples) / 16000
    units = model.unit_tokenizer.encode(samples)
    spoken = torch.tensor([k == "speech" for k in utterance.sequence.kinds])
    assert found.times_s[spoken, 0].equal(units.starts_s)
    assert found.times_s[spoken, 1].equal(units.ends_s)
    assert found.times_s[~spoken].isnan().all()


def test_the_grid_is_the_lens_grid(model, found):
    grid = lens_grid(model, found.utterance, policy=model.word_policy)
    assert found.grid.to_frame().equals(grid.to_frame())
    assert found.provenance == grid.provenance


def test_attention_is_what_transformer_lens_caches(model, found):
    _, cache = model.run_with_cache(found.utterance.sequence.tokens[None])
    for layer in found.attention_layers:
        cached = cache[f"blocks.{layer}.attn.hook_pattern"][0]
        assert torch.allclose(found.attention[layer], cached, atol=1e-6)
    assert found.attention_layers == tuple(range(model.cfg.n_layers))


def test_what_is_predicted_is_divided(model, found):
    with torch.no_grad():
        logits = model(found.utterance.sequence.tokens[None])[0, -1]
    units = torch.tensor(list(model.vocab.streams["units"]))
    assert int(logits.argmax()) in units
    value = logits.max() - logits[units].mean()
    assert found.attribution.values.item() == pytest.approx(value.item(), abs=1e-3)
    assert found.attribution.positions == (len(found.utterance.sequence) - 1,)


def test_samples_give_the_same_as_the_file(model, found):
    again = slm_lens.explore(
        model, found.audio.waveform, alignment=slm_lens.read_alignment(WORDS), name=found.name,
        attention=[1], attribute=None,
    )  # fmt: skip
    assert again.grid.to_frame().equals(found.grid.to_frame())
    assert again.attention is not None
    assert again.attention.equal(found.attention[1:2])
    assert again.attribution is None
    unnamed = slm_lens.explore(model, found.audio.waveform, attention=None, attribute=None)
    assert (unnamed.name, unnamed.attention, unnamed.words) == ("clip", None, ())


def test_a_written_utterance_has_no_sound(model):
    sequence = model.sequence_from_text("the dolphin finds a trumpet")
    found = slm_lens.explore(model, Utterance("written", sequence), follow=["castle"], at=2)
    assert found.audio is None
    assert found.times_s.isnan().all()
    assert [w.word for w in found.words] == ["the", "dolphin", "finds", "a", "trumpet"]
    assert "castle" in {f.label.strip() for f in found.grid.followed if not f.is_word}
    assert found.attribution is not None
    assert found.attribution.positions == (2,)
    with torch.no_grad():
        top = int(model(sequence.tokens[None])[0, 2].argmax())
    assert found.attribution.directions == (model.vocab.label(top),)


class TestRefused:
    def test_two_alignments(self, model, found):
        with pytest.raises(TypeError, match=r"explore: got an utterance and an alignment"):
            slm_lens.explore(model, found.utterance, alignment=WORDS)

    def test_a_word_without_a_token(self, model, found):
        with pytest.raises(ValueError, match=r"explore: got words to follow of which \['xyzzy'\]"):
            slm_lens.explore(model, found.utterance, follow=["xyzzy"])

    def test_a_position_outside(self, model, found):
        with pytest.raises(ValueError, match=r"explore: got at=9999 for an utterance of"):
            slm_lens.explore(model, found.utterance, attention=None, at=9999)

    def test_a_sweep_of_something_else(self, found):
        table = pl.DataFrame({"pair": ["a", "a"], "position": [3, 99999]})
        sweep = slm_lens.Patching(table, "denoising", "words", "pad", "resumed", None)
        with pytest.raises(ValueError, match=r"with_patching: got 1 pairs and 1 of 2 places"):
            found.with_patching(sweep)
