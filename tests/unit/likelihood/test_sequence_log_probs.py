"""Log-probabilities of tokens: by hand, and beside the plain Hugging Face model in float64."""

import copy
import math
from typing import Any

import pytest
import torch
from bigrams import bigram_model, sequence
from slamkit_folders import WORDS
from tiny_speech import N_TEXT, N_UNITS

import slm_lens
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.vocab import TOKEN_KINDS

SPEECH, TEXT, END, PADDING = (N_TEXT + N_UNITS + i for i in range(4))
UNIT = N_TEXT

# Measured on these models with six seeds: up to 6.6e-6 from float64 (log-probabilities down to
# -12), and 3.8e-6 between padded and single runs.
TOLERANCE = 1e-5


def plain_log_probs(hf: Any, tokens, part=None):
    """Of every token but the first, from all logits of the plain model in float64."""
    with torch.no_grad():
        logits = copy.deepcopy(hf).double()(tokens[None]).logits[0, :-1]
    if part is not None:
        logits[:, ~part] = -torch.inf
    return logits.log_softmax(-1).gather(1, tokens[1:, None])[:, 0]


def drawn(model, kinds, lengths, seed=0):
    """Sequences of random tokens of some kinds."""
    generator = torch.Generator().manual_seed(seed)
    rows = model.vocab.mask(*kinds).nonzero()[:, 0]
    found = []
    for n in lengths:
        ids = rows[torch.randint(len(rows), (n,), generator=generator)]
        names = tuple(TOKEN_KINDS[k] for k in model.vocab.kind_of[ids].tolist())
        found.append(SpeechTextSequence(ids, names, ()))
    return found


@pytest.fixture(scope="module")
def llama(slamkit_folder):
    folder = slamkit_folder(architecture="llama", tied=False, padding_rows=3)
    return slm_lens.load(folder.path), folder.hf_model


@pytest.fixture(params=["qwen2", "llama"])
def both(request, tiny_model, tiny_folder):
    """A model, and the plain model whose weights it has."""
    if request.param == "qwen2":
        return tiny_model, tiny_folder.hf_model
    return request.getfixturevalue("llama")


class TestByHand:
    def test_three_tokens(self):
        """P(1 | 0) = 2/8, P(2 | 1) = 2/8, P(0 | 2) = 3/8."""
        read = slm_lens.sequence_log_probs(bigram_model(), [sequence(0, 1, 2, 0)])
        assert read.values[0].tolist() == pytest.approx(
            [math.log(2 / 8), math.log(2 / 8), math.log(3 / 8)], abs=1e-5
        )
        assert read.values[0].dtype == torch.float32
        assert read.within == "full"
        assert read.provenance.forward == "fast"

    def test_each_sequence_has_its_own_length(self):
        read = slm_lens.sequence_log_probs(
            bigram_model(), [sequence(2, 2), sequence(0, 2, 1), sequence(2, 2)], batch_size=3
        )
        by_hand = [[2 / 8], [5 / 8, 3 / 8], [2 / 8]]
        for values, expected in zip(read.values, by_hand, strict=True):
            assert values.exp().tolist() == pytest.approx(expected, abs=1e-5)


class TestBesideThePlainModel:
    @pytest.mark.parametrize("forward", ["fast", "hooked"])
    def test_every_token_over_the_whole_vocabulary(self, both, forward):
        model, hf = both
        sequences = drawn(model, ("text", "speech", "marker", "special"), [2, 30, 17])
        read = slm_lens.sequence_log_probs(model, sequences, forward=forward)
        assert read.provenance.forward == forward
        for s, values in zip(sequences, read.values, strict=True):
            expected = plain_log_probs(hf, s.tokens)
            assert (values - expected).abs().max() < TOLERANCE
            assert (values - expected.roll(1)).abs().max() > 0.1 or len(s) == 2

    @pytest.mark.parametrize("part", ["text", "speech"])
    def test_within_a_modality_the_others_have_no_probability(self, both, part):
        model, hf = both
        sequences = drawn(model, (part,), [12, 5], seed=1)
        read = slm_lens.sequence_log_probs(model, sequences, within=part)
        full = slm_lens.sequence_log_probs(model, sequences)
        for s, values, of_all in zip(sequences, read.values, full.values, strict=True):
            expected = plain_log_probs(hf, s.tokens, model.vocab.mask(part))
            assert (values - expected).abs().max() < TOLERANCE
            assert (values > of_all).all()

    def test_the_mean_is_slamkits_score(self, both):
        """``-calc_nll``: cross-entropies of shifted logits, summed, by the number of targets."""
        model, hf = both
        (s,) = drawn(model, ("speech",), [20])
        with torch.no_grad():
            logits = hf(s.tokens[None]).logits
        losses = torch.nn.functional.cross_entropy(
            logits[..., :-1, :].reshape(-1, logits.shape[-1]), s.tokens[1:], reduction="none"
        )
        score = -(losses.sum() / len(losses))
        (values,) = slm_lens.sequence_log_probs(model, [s]).values
        assert values.mean().item() == pytest.approx(score.item(), abs=TOLERANCE)

    @pytest.mark.parametrize("batch_size", [2, 7])
    def test_padding_changes_nothing(self, both, batch_size):
        model, _ = both
        sequences = drawn(model, ("text", "speech"), [2, 40, 3, 25, 9, 40, 2], seed=2)
        single = slm_lens.sequence_log_probs(model, sequences)
        padded = slm_lens.sequence_log_probs(model, sequences, batch_size=batch_size)
        for one, many in zip(single.values, padded.values, strict=True):
            assert (one - many).abs().max() < TOLERANCE


def test_within_a_modality_markers_and_control_tokens_are_not_scored():
    s = sequence(SPEECH, UNIT + 3, UNIT + 4, SPEECH, END, UNIT + 1)
    (values,) = slm_lens.sequence_log_probs(bigram_model(), [s], within="speech").values
    assert values.isnan().tolist() == [False, False, True, True, False]
    # Logits of all units are equal, and so are their probabilities.
    assert values[~values.isnan()].exp().tolist() == pytest.approx([1 / N_UNITS] * 3, rel=1e-5)
    alone = slm_lens.sequence_log_probs(bigram_model(), [sequence(0, SPEECH)], within="text")
    assert alone.values[0].isnan().tolist() == [True]


def test_equal_sequences_run_once(own_model):
    """So that they have equal numbers, whatever runs beside them: a tie is a tie."""
    shapes = []
    own_model.plain_forward._shell.register_forward_pre_hook(
        lambda _m, _args, kwargs: shapes.append(kwargs["input_ids"].shape), with_kwargs=True
    )
    pair = drawn(own_model, ("speech",), [11])
    first, second, third = drawn(own_model, ("speech",), [23, 5, 9], seed=4)
    read = slm_lens.sequence_log_probs(
        own_model, [first, *pair, second, *pair, third], batch_size=7
    )
    assert shapes == [(4, 23)]
    assert [len(v) for v in read.values] == [22, 10, 4, 10, 8]
    assert torch.equal(read.values[1], read.values[3])


def test_the_model_itself_is_read_with_its_hooks(own_model):
    (s,) = drawn(own_model, ("speech",), [8])
    (plain,) = slm_lens.sequence_log_probs(own_model, [s]).values
    own_model.add_hook("blocks.0.hook_resid_post", lambda x, hook: 0 * x)  # noqa: ARG005
    hooked = slm_lens.sequence_log_probs(own_model, [s])
    assert hooked.provenance.forward == "hooked"
    assert hooked.provenance.hooks == ("blocks.0.hook_out",)  # its name in the bridge
    assert not torch.allclose(hooked.values[0], plain, atol=1e-2)


class TestRefused:
    def refused(self, match, *sequences, **options):
        with pytest.raises(ValueError, match=match):
            slm_lens.sequence_log_probs(bigram_model(), list(sequences), **options)

    def test_sequences(self):
        self.refused(r"got 0 sequences and batch_size=1")
        self.refused(r"got 1 sequences and batch_size=0", sequence(0, 1), batch_size=0)
        self.refused(r"got a sequence of 1 tokens, expected at least 2", sequence(0))
        self.refused(r"of 33 tokens, .* at most the 32 of the model's context", sequence(*[0] * 33))
        strange = SpeechTextSequence(torch.tensor([0, 1000]), ("text",) * 2, ())
        self.refused(r"got token ids from 0 to 1000, expected 0 <= id < d_vocab", strange)

    def test_a_token_of_the_other_modality(self):
        s = sequence(SPEECH, UNIT, TEXT, 5)
        first = sequence(SPEECH, UNIT)
        match = r"within=.speech. for sequence 1, whose position 3 holds .*speech alone after"
        self.refused(match, first, s, within="speech")
        unused = sequence(SPEECH, UNIT, PADDING)
        self.refused(r"whose position 2 holds .<padding", unused, within="speech")

    @pytest.mark.usefixtures("untyped")
    def test_an_unknown_part(self):
        s = sequence(0, 1)
        self.refused(r"got within='words', expected one of \('text', 'speech'", s, within="words")

    @pytest.mark.usefixtures("untyped")
    def test_a_model_without_a_vocabulary(self, tiny_folder):
        with pytest.raises(TypeError, match=r"sequence_log_probs: got a .* knows no vocabulary"):
            slm_lens.sequence_log_probs(tiny_folder.hf_model, [sequence(0, 1)])

    def test_a_model_in_training_mode(self):
        model = bigram_model().train()
        with pytest.raises(ValueError, match=r"training mode"):
            slm_lens.sequence_log_probs(model, [sequence(0, 1)])


def test_words_of_the_tiny_model_are_text(tiny_model):
    """So that "text" above is not a part without words."""
    s = tiny_model.sequence_from_text(" ".join(WORDS[:3]))
    (values,) = slm_lens.sequence_log_probs(tiny_model, [s], within="text").values
    assert not values.isnan().any()
