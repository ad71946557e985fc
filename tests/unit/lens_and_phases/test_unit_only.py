"""A model without text, such as Slam or TWIST: what needs words says so, and the rest works."""

import numpy as np
import pytest
import torch
from handmade import PROVENANCE, word_table
from tiny_speech import make_hf_model

from slm_lens.errors import VocabError
from slm_lens.families.checkpoint import Checkpoint
from slm_lens.families.prompt import PromptFormat
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.states import residual_stack
from slm_lens.lens.targets import TargetPlan
from slm_lens.lens.word_lens import word_lens
from slm_lens.model.describe import describe_model
from slm_lens.model.hooked import HookedSLM
from slm_lens.phases.measure import measure_phases
from slm_lens.phases.random_weights import random_weights
from slm_lens.readout.wanted import NO_TOKEN
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.speech.alignment import AlignedWord, Alignment
from slm_lens.speech.units import Units
from slm_lens.studies.phase_study import study_phases
from slm_lens.vocab import SpeechTextVocab

D_VOCAB, UN0, BOS = 22, 2, 1
UNITS = Units(torch.tensor([4, 19, 0, 7]), torch.tensor([1, 2, 1, 3]), 25.0)
TOKENS = torch.tensor([[BOS, UN0 + 4, UN0 + 19, UN0, UN0 + 7]])
WORD = Alignment((AlignedWord("zebra", 0.0, 0.1),))
READING = {"function_words": frozenset(), "policy": "whole_word", "n_draws": 0}
THE_MODEL = "the model 'unit lm' (family 'slam')"


def make_unit_vocab():
    return SpeechTextVocab(
        d_vocab=D_VOCAB,
        text=(),
        streams={"units": range(UN0, D_VOCAB)},
        specials={"<PAD>": 0, "<S>": BOS},
    )


@pytest.fixture(scope="module")
def vocab():
    return make_unit_vocab()


@pytest.fixture(scope="module")
def model():
    checkpoint = Checkpoint(
        hf_model=make_hf_model(d_vocab=D_VOCAB),
        tokenizer=None,
        prepends_bos=False,
        appends_eos=False,
        vocab=make_unit_vocab(),
        prompt_format=PromptFormat(
            before=(BOS,),
            after=(BOS,),
            mark_speech_only=False,
            mark_text_only=False,
            repeat_marker=False,
        ),
        family="slam",
    )
    return HookedSLM(checkpoint, name="unit lm", unit_tokenizer=None)


# No other argument is usable: the reason comes before everything else.
REFUSALS = {
    "word_lens": (THE_MODEL, lambda m: word_lens(m, [], **READING)),
    "study_phases": (THE_MODEL, lambda m: study_phases(m, [])),
    "measure_phases": (
        "the model 'by hand' (family 'sims')",
        lambda _: measure_phases(
            word_table([{"utterance": "a"}], n_layers=0, n_text=0, provenance=PROVENANCE), ks=()
        ),
    ),
    "sequence_from_text": (THE_MODEL, lambda m: m.sequence_from_text("")),
    "TargetPlan": (
        "this vocabulary",
        lambda m: TargetPlan(
            m.vocab,
            [],
            policy="whole_word",
            function_words=frozenset(),
            word_counts=None,
            n_draws=0,
            seed=0,
        ),
    ),
    "word_tokens": ("this vocabulary", lambda m: m.vocab.word_tokens("", "prefixes")),
    "SpeechTextSequence.from_text": (
        "this vocabulary",
        lambda m: SpeechTextSequence.from_text([""], m.vocab, marker=True),
    ),
    "SpeechTextSequence.interleave": (
        "this vocabulary",
        lambda m: SpeechTextSequence.interleave(UNITS, WORD, m.vocab, spoken=[False]),
    ),
}


@pytest.mark.parametrize("function", REFUSALS)
def test_what_needs_text_refuses_at_the_start_with_the_reason(model, function):
    holder, call = REFUSALS[function]
    with pytest.raises(VocabError) as refused:
        call(model)
    message = str(refused.value)
    assert message.startswith(
        f"{function}: {holder} has no text tokens (a unit-only vocabulary), expected text"
    )
    assert "Read its units instead" in message


def test_the_command_refuses_before_it_encodes_clips(model, monkeypatch, tmp_path):
    from typer.testing import CliRunner

    from slm_lens.cli.main import app

    # Only the loader is replaced: no folder of such a model is written here. The model has no
    # unit tokenizer, so encoding a clip would be refused with another message.
    monkeypatch.setattr("slm_lens.model.load.load", lambda *_, **__: model)
    with pytest.raises(VocabError, match=r"^phases: the model 'unit lm' \(family 'slam'\) has no"):
        CliRunner().invoke(
            app, ["phases", "x", "held-out", "--out", str(tmp_path)], catch_exceptions=False
        )


def test_a_vocabulary_with_text_is_not_refused(vocab):
    with_text = SpeechTextVocab(d_vocab=3, text=[0], streams={"units": [1, 2]})
    assert with_text.require_text("anything") is None
    with pytest.raises(VocabError, match=r"^anything: mine has no text tokens"):
        vocab.require_text("anything", "mine")


def test_units_become_a_prompt(model):
    sequence = model.sequence_from_units(UNITS, WORD, continue_in="speech")
    assert sequence.tokens.tolist() == TOKENS[0].tolist()
    assert sequence.kinds == ("special",) + ("speech",) * 4
    # Units end at 0.04, 0.12, 0.16 and 0.28 s; the word ends at 0.1 s.
    assert [(w.start, w.end) for w in sequence.words] == [(1, 2)]
    names = ["<S>", "<Un4>", "<Un19>", "<Un0>", "<Un7>"]
    assert model.to_str_tokens(sequence.tokens) == names


def test_lens_and_hooks_are_those_of_the_plain_model(model):
    plain = make_hf_model(d_vocab=D_VOCAB)
    with torch.no_grad():
        theirs = plain(TOKENS, output_hidden_states=True)
        W_U = plain.lm_head.weight
    stack = residual_stack(model, TOKENS)
    # Hugging Face's last hidden state is normalised already; the others are the residual stream.
    for layer in range(3):
        assert torch.allclose(stack[layer], theirs.hidden_states[layer], atol=1e-5)
        x = stack[layer].double()
        rms = (x.square().mean(-1, keepdim=True) + plain.config.rms_norm_eps).sqrt()
        by_hand = (x / rms * plain.model.norm.weight.double()) @ W_U.double().T
        assert torch.allclose(LogitLens(model)(stack[layer]).double(), by_hand, atol=1e-4)
    assert torch.allclose(LogitLens(model)(stack[3]), theirs.logits, atol=1e-4)

    def silence(activation, hook):  # noqa: ARG001 (TransformerLens names it)
        return torch.zeros_like(activation)

    name = "blocks.2.hook_resid_post"
    with torch.no_grad():
        silent = model.run_with_hooks(TOKENS, fwd_hooks=[(name, silence)])
    assert torch.equal(silent, torch.zeros_like(silent))  # the norm of 0 is 0


def test_readouts_find_speech_and_no_text(model):
    stack = residual_stack(model, TOKENS)[:, 0]
    read = LogitLens(model).readout(stack, "mass", "top_k", k=D_VOCAB)
    p = np.exp(LogitLens(model)(stack).double().numpy())
    speech = p[..., UN0:].sum(-1) / p.sum(-1)
    assert set(read.mass) == {"units", "other"}
    assert read.mass["units"].numpy() == pytest.approx(speech, abs=1e-6)
    assert read.mass["other"].numpy() == pytest.approx(1 - speech, abs=1e-6)
    assert set(read.top_k) == {"speech", "full"}
    assert (read.top_k["speech"].ids[..., :20] >= UN0).all()
    assert (read.top_k["speech"].ids[..., 20:] == NO_TOKEN).all()
    assert read.top_k["full"].ids.sort().values.equal(torch.arange(22).expand(4, 5, -1))


def test_it_is_described_and_has_a_control(model):
    described = describe_model(model)
    assert described["vocabulary"]["text"] == "none"
    assert described["vocabulary"]["speech"] == "20 rows: 2-21"
    assert described["prompt format"]["begins with"] == "<S> (1)"
    assert described["prompt format"]["text marker"] == "none"
    twin = random_weights(model, seed=3)
    assert twin.provenance.in_words().startswith("slam, Qwen2ForCausalLM, float32")
    assert twin.provenance.in_words().endswith("random weights (seed 3)")
    assert not torch.equal(residual_stack(twin, TOKENS), residual_stack(model, TOKENS))
