import pytest
import torch

from slm_lens import SpeechTextSequence, Units, pad_batch


def utterances(vocab):
    """Three sequences of 9, 4 and 1 units."""
    generator = torch.Generator().manual_seed(0)
    for n_units in (9, 4, 1):
        ids = torch.randint(0, vocab.n_units(), (n_units,), generator=generator)
        units = Units(ids, torch.ones_like(ids), 25.0)
        yield SpeechTextSequence.from_speech(units, None, vocab, marker=True)


def test_padding_is_on_the_right_and_masked(tiny_model):
    batch = pad_batch(list(utterances(tiny_model.vocab)), pad_token=0)
    assert batch.tokens.shape == (3, 10)
    assert batch.attention_mask.sum(1).tolist() == [10, 5, 2]
    assert batch.attention_mask[1].tolist() == [True] * 5 + [False] * 5
    assert batch.tokens[1, 5:].tolist() == [0] * 5
    assert (batch.tokens[1, :5] > 0).all()


@pytest.mark.parametrize("pad_token", [0, 40])  # <pad>, and a unit: the mask must hide either
def test_a_batch_gives_the_numbers_of_one_by_one(tiny_model, pad_token):
    sequences = list(utterances(tiny_model.vocab))
    batch = pad_batch(sequences, pad_token=pad_token)
    with torch.no_grad():
        logits, cache = tiny_model.run_with_cache(batch.tokens, attention_mask=batch.attention_mask)
        for i, sequence in enumerate(sequences):
            n = len(sequence)
            alone, alone_cache = tiny_model.run_with_cache(sequence.tokens[None])
            # float32 logits and residuals reach 8 here, where one rounding is about 5e-7; the
            # batch differed by at most 3.4e-6, from products taken in another order.
            assert (logits[i, :n] - alone[0]).abs().max() < 1e-5
            for layer in range(tiny_model.cfg.n_layers):
                name = f"blocks.{layer}.hook_resid_post"
                assert (cache[name][i, :n] - alone_cache[name][0]).abs().max() < 1e-5


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="got no sequence"):
        pad_batch([], pad_token=0)
