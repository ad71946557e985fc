"""Clips as documents: spoken, written, and both."""

import shutil

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import slm_lens
from slm_lens.corpus.documents import clip_documents
from slm_lens.corpus.folder import clips_of, read_utterances
from slm_lens.families.checkpoint import Checkpoint
from slm_lens.families.prompt import PromptFormat
from slm_lens.speech.alignment_files import read_alignment


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for sound, beside in clips_of("held-out")[:2]:
        shutil.copy(sound, folder)
        shutil.copy(beside, folder)
    return folder


@pytest.fixture(scope="module")
def organism():
    return slm_lens.load("organism")


def test_each_clip_comes_spoken_written_and_in_both(organism, clips):
    documents = clip_documents(organism, clips)
    assert len(documents) == 3 * 2
    whole = read_utterances(organism, clips)
    for i, (sound, beside) in enumerate(clips_of(clips)):
        spoken, written, both = documents[3 * i : 3 * i + 3]
        assert torch.equal(spoken.tokens, whole[i].sequence.tokens), sound
        words = [w.word for w in read_alignment(beside)]
        labels = [organism.vocab.label(t).strip() for t in written.tokens.tolist()]
        assert [label for label in labels if not label.startswith("<")] == words
        assert [w.word for w in both.words] == words
        assert {w.modality for w in both.words} == {"speech", "text"}
        n_spoken = sum(w.modality == "speech" for w in both.words)
        assert len(words) / 2 <= n_spoken <= 0.9 * len(words)
        for own, of_clip in zip(both.words, spoken.words, strict=True):
            if own.modality == "speech":  # its units are those of the clip
                assert torch.equal(
                    both.tokens[own.start : own.end], spoken.tokens[of_clip.start : of_clip.end]
                )


def test_the_seed_chooses_what_is_spoken_and_nothing_else(organism, clips):
    one, again, other = (clip_documents(organism, clips, seed=s) for s in (0, 0, 1))
    kinds = [[d.kinds for d in documents] for documents in (one, again, other)]
    assert kinds[0] == kinds[1]
    assert [k == o for k, o in zip(kinds[0], kinds[2], strict=True)] != [True] * 6
    for i in (0, 1, 3, 4):
        assert torch.equal(one[i].tokens, other[i].tokens)


def test_a_model_without_text_reads_them_spoken(organism, clips):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=102, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    vocab = slm_lens.SpeechTextVocab(
        d_vocab=102, text=(), streams={"units": range(2, 102)}, specials={"<PAD>": 0, "<S>": 1}
    )
    prompts = PromptFormat(
        before=(1,), after=(), mark_speech_only=False, mark_text_only=False, repeat_marker=True
    )
    checkpoint = Checkpoint(
        LlamaForCausalLM(config).eval(), tokenizer=None, prepends_bos=False, appends_eos=False,
        vocab=vocab, prompt_format=prompts, family="slam",
    )  # fmt: skip
    model = slm_lens.HookedSLM(checkpoint, name="unit lm", unit_tokenizer=organism.unit_tokenizer)
    documents = clip_documents(model, clips)
    assert [set(d.kinds) for d in documents] == [{"special", "speech"}] * 2
