"""Directions by numpy, from the weights as the Hugging Face model has them."""

import numpy as np
import pytest
import torch
from tiny_speech import D_VOCAB, make_vocab, wrap
from transformers import GPT2Config, GPT2LMHeadModel


def weights(hf_model):
    rows = hf_model.lm_head.weight.detach().double().numpy()
    gain = hf_model.model.norm.weight.detach().double().numpy()
    return rows, gain


def test_a_contrast_by_hand(model, hf_model, utterances):
    from slm_lens.interventions.directions import contrast
    from slm_lens.interventions.site import Site

    def mean(sequence, span):
        with torch.no_grad():
            states = hf_model(sequence.tokens[None], output_hidden_states=True).hidden_states[1]
        return states[0, span[0] : span[1]].double().numpy().mean(0)

    runs = [x.sequence for x in utterances[:4]]
    spans = [(1, 4), (2, 3), (3, 8), (1, 9)]
    wanted, unwanted = list(zip(runs, spans, strict=True))[:3], [(runs[3], spans[3])]
    found = contrast(model, wanted, unwanted)
    by_hand = np.mean([mean(*x) for x in wanted], axis=0) - mean(*unwanted[0])
    assert np.abs(found.vectors[1].numpy() - by_hand).max() < 1e-5
    assert found.vectors.shape == (4, 16)
    assert found.wanted.shape == (3, 4, 16)
    for site, layer in ((Site("resid_pre", 1), 1), (Site("resid_post", 0), 1)):
        assert torch.equal(found.at(site), found.vectors[layer])
    assert torch.equal(found.at(Site("resid_post", 2)), found.vectors[3])
    for site in (Site("resid_post", 3), Site("resid_pre", 3), Site("attn_out", 1)):
        with pytest.raises(ValueError, match=r"Contrast\.at: got L\d .*, expected resid_pre or"):
            found.at(site)


def test_word_directions_are_rows_times_the_gain_of_the_final_norm(model, hf_model):
    from slm_lens.interventions.directions import word_directions

    rows, gain = weights(hf_model)
    found = word_directions(model, (3, 8))
    assert np.abs(found.numpy() - rows[[3, 8]] * gain).max() < 1e-6


def test_with_layer_norm_a_direction_is_centred():
    """Through LayerNorm a logit is direction . h / scale + constant, for states of any mean."""
    from slm_lens.interventions.directions import word_directions

    torch.manual_seed(0)
    hf = GPT2LMHeadModel(
        GPT2Config(vocab_size=D_VOCAB, n_positions=16, n_embd=8, n_layer=1, n_head=2)
    )
    norm, rows = hf.transformer.ln_f, hf.lm_head.weight.detach().clone()
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
    norm = torch.nn.LayerNorm(8, norm.eps)
    norm.load_state_dict(hf.transformer.ln_f.state_dict())
    bridge = wrap(hf.eval(), make_vocab())
    direction = word_directions(bridge, [4])[0]
    h = torch.randn(5, 8) + 3
    with torch.no_grad():
        logits = norm(h) @ rows[4]
        scale = (h.var(-1, correction=0) + norm.eps).sqrt()
        ours = h @ direction / scale + norm.bias @ rows[4]
    assert (logits - ours).abs().max() < 1e-5


def test_the_modality_direction_by_hand(model, hf_model, vocab):
    from slm_lens.interventions.directions import modality_direction

    rows, gain = weights(hf_model)
    text, units = list(vocab.text), list(vocab.streams["units"])
    by_hand = (rows[text].mean(0) - rows[units].mean(0)) * gain
    assert np.abs(modality_direction(model).numpy() - by_hand).max() < 1e-6


def test_the_text_subspace_is_that_of_a_singular_value_decomposition(model, hf_model, vocab):
    from slm_lens.interventions.directions import text_subspace

    rows, gain = weights(hf_model)
    _, _, right = np.linalg.svd(rows[list(vocab.text)] * gain)
    found = text_subspace(model, 3).double().numpy()
    assert np.abs(found.T @ found - right[:3].T @ right[:3]).max() < 1e-5
    assert np.abs(np.abs(np.diag(found @ right[:3].T)) - 1).max() < 1e-5  # in the same order


def test_orthonormal_rows_span_what_the_rows_span():
    from slm_lens.interventions.directions import orthonormal

    rows = torch.tensor([[3.0, 0, 0, 0], [1, 1, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0]])
    found = orthonormal(rows)
    assert torch.allclose(found.T @ found, torch.diag(torch.tensor([1.0, 1, 0, 0])), atol=1e-6)


def test_random_directions_have_their_length_and_seed():
    from slm_lens.interventions.directions import random_directions

    drawn = random_directions(4, 16, length=2.5, seed=1)
    assert torch.allclose(drawn.norm(dim=1), torch.full((4,), 2.5))
    assert torch.equal(drawn, random_directions(4, 16, length=2.5, seed=1))
    assert not torch.equal(drawn, random_directions(4, 16, length=2.5, seed=2))


def test_what_does_not_fit_is_refused(model, utterances):
    from slm_lens.interventions.directions import (
        contrast,
        orthonormal,
        text_subspace,
        word_directions,
    )

    run = utterances[0].sequence
    with pytest.raises(ValueError, match="contrast: got 0 wanted and 1 unwanted runs"):
        contrast(model, [], [(run, (0, 2))])
    with pytest.raises(ValueError, match=r"contrast: got the span \(2, 99\) of a run of"):
        contrast(model, [(run, (2, 99))], [(run, (0, 2))])
    with pytest.raises(ValueError, match=r"word_directions: got the token ids \(\), expected at"):
        word_directions(model, ())
    with pytest.raises(ValueError, match=r"word_directions: got the token ids \(3, 999\)"):
        word_directions(model, (3, 999))
    with pytest.raises(ValueError, match="text_subspace: got n=17, expected 1 to 16"):
        text_subspace(model, 17)
    with pytest.raises(ValueError, match="orthonormal: got 1 rows without a direction"):
        orthonormal(torch.zeros(1, 4))
    with pytest.raises(ValueError, match="orthonormal: got 1 rows with NaN or infinite entries"):
        orthonormal(torch.full((1, 4), torch.nan))
