from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import N_LAYERS, planted_clips, planted_model, spoken, written

from slm_lens import PairedUtterance, Utterance, VocabError, paired_states, paired_with_text
from slm_lens.geometry.paired import mean_of_spans
from slm_lens.sequence.sequence import SpeechTextSequence


def pairs(n=3):
    clips = planted_clips(n, n_words=3)
    return [PairedUtterance(c.name, spoken(c).sequence, written(c).sequence) for c in clips]


def cut(sequence, end):
    """The first positions of a sequence; words beyond have no position."""
    words = tuple(replace(w, start=min(w.start, end), end=min(w.end, end)) for w in sequence.words)
    return SpeechTextSequence(sequence.tokens[:end], sequence.kinds[:end], words)


@pytest.mark.parametrize("batch_size", [1, 8])
def test_states_are_those_of_the_model_without_markers(batch_size):
    model = planted_model(planted=False)
    given = pairs()
    given[1] = PairedUtterance("cut", cut(given[1].speech, 8), given[1].text)  # other lengths
    found = paired_states(model, given, batch_size=batch_size)
    for pair, one in zip(given, found, strict=True):
        for sequence, states in ((pair.speech, one.speech), (pair.text, one.text)):
            _, cache = model.run_with_cache(sequence.tokens[None])  # the bridge, not the fast pass
            names = [f"blocks.{i}.hook_resid_post" for i in range(N_LAYERS)]
            raw = torch.cat([cache[name] for name in ("blocks.0.hook_resid_pre", *names)])
            # States of size 60; kernels of attention and padding round otherwise, by 1e-4.
            np.testing.assert_allclose(states.numpy(), raw[:, 1:].numpy(), atol=5e-4)
        assert one.name == pair.name
    # <speech> and three units a word, <text> and a token a word; markers are not counted.
    assert found[0].speech_spans.tolist() == [[0, 3], [3, 6], [6, 9]]
    assert found[0].text_spans.tolist() == [[0, 1], [1, 2], [2, 3]]
    assert found[0].has_positions == (True, True, True)
    # Seven units are left of the nine: one of the last word.
    assert found[1].speech_spans.tolist() == [[0, 3], [3, 6], [6, 7]]
    no_unit = PairedUtterance("cut", cut(given[0].speech, 7), given[0].text)
    assert paired_states(model, [no_unit])[0].has_positions == (True, True, False)


def test_means_of_spans_by_hand():
    states = torch.tensor([[[1.0, 0], [3, 2], [5, 4]], [[0, 0], [2, 2], [0, 0]]])
    found = mean_of_spans(states, torch.tensor([[0, 2], [2, 3]]))
    assert found.tolist() == [[[2, 1], [5, 4]], [[1, 1], [0, 0]]]
    for span in ([1, 1], [2, 4], [-1, 1]):
        with pytest.raises(ValueError, match=r"mean_of_spans: got spans of .* over 3 positions"):
            mean_of_spans(states, torch.tensor([span]))


def test_the_text_of_a_clip_is_written_in_the_models_format(tiny_model):
    text = tiny_model.sequence_from_text("the zebra")
    clip = spoken(planted_clips(1, n_words=2)[0])
    first, second = clip.sequence.words
    words = (replace(first, word="the"), replace(second, word="zebra"))
    utterance = Utterance("a", replace(clip.sequence, words=words))
    pair = paired_with_text(tiny_model, utterance)
    assert pair.name == "a"
    assert pair.text.tokens.tolist() == text.tokens.tolist()
    assert pair.speech is utterance.sequence


def test_refusals():
    one, other = pairs(1)[0], written(planted_clips(1, n_words=2)[0]).sequence
    with pytest.raises(ValueError, match=r"PairedUtterance 'a': got 3 words .* and 2 of"):
        PairedUtterance("a", one.speech, other)
    with pytest.raises(ValueError, match=r"got 3 words of \['text'\] and 3 of \['text'\]"):
        PairedUtterance("a", one.text, one.text)
    with pytest.raises(ValueError, match=r"paired_states: got batch_size=0"):
        paired_states(planted_model(), [one], batch_size=0)
    silent = Utterance("b", replace(one.speech, words=()))
    with pytest.raises(ValueError, match=r"paired_with_text: got 'b' without words"):
        paired_with_text(planted_model(), silent)


def test_a_model_without_text_is_refused():
    model = planted_model()
    model.vocab = replace(model.vocab, text=range(0), padding=range(12))
    with pytest.raises(VocabError, match=r"sequence_from_text: the model 'planted' .* has no text"):
        paired_with_text(model, spoken(planted_clips(1)[0]))
