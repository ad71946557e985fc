"""A tiny random Qwen2 (grouped queries, tied), wrapped, and a handful of spoken sentences."""

import os
from typing import Any

import numpy as np
import torch

os.environ.setdefault("HF_HUB_OFFLINE", "1")

FUNCTION = frozenset(["the", "a", "of", "in", "is", "and"])
WORDS = [*sorted(FUNCTION), "fox", "dog", "owl", "bear", "river", "hill", "red", "green", "runs"]
WORDS += ["sleeps", "hunts", "sees", "deep", "tall"]
N_UNITS = 20
N_TEXT = 2 * len(WORDS) + 4  # each word with and without a space, and four letters
D_VOCAB = N_TEXT + N_UNITS + 2 + 1 + 5  # and markers, one special, padding rows


def make_vocab():
    from slm_lens.vocab import SpeechTextVocab

    labels = {}
    for i, word in enumerate(WORDS):
        labels[2 * i], labels[2 * i + 1] = word, " " + word
    labels |= {2 * len(WORDS) + i: c for i, c in enumerate("xyz ")}
    ids = {s: t for t, s in labels.items()}

    def encode(text):  # blind to case; a word that is not listed is spelled in letters
        low = text.lower()
        return [ids[low]] if low in ids else [ids.get(c, ids["x"]) for c in low]

    units = range(N_TEXT, N_TEXT + N_UNITS)
    first = N_TEXT + N_UNITS
    return SpeechTextVocab(
        d_vocab=D_VOCAB,
        text=range(N_TEXT),
        streams={"units": units},
        markers={"speech": first, "text": first + 1},
        specials={"<end>": first + 2},
        padding=range(first + 3, D_VOCAB),
        encode_text=encode,
        labels=labels,
    )


def make_utterances(n, seed, *, max_words=7):
    """Spoken sentences of random words of 1-4 units; one word has no unit, one no token."""
    from slm_lens.sequence.sequence import SpeechTextSequence
    from slm_lens.sequence.utterance import Utterance
    from slm_lens.sequence.word_span import WordSpan

    rng = np.random.default_rng(seed)
    utterances = []
    for u in range(n):
        tokens, spans = [N_TEXT + N_UNITS], []
        for i in range(int(rng.integers(4, max_words + 1))):
            word = "zyx" if (u, i) == (2, 1) else WORDS[int(rng.integers(len(WORDS)))]
            n_units = 0 if (u, i) == (1, 2) else int(rng.integers(1, 5))
            start = len(tokens)
            tokens += (N_TEXT + rng.integers(N_UNITS, size=n_units)).tolist()
            spans.append(WordSpan(word, "speech", start, len(tokens), 0.1 * i, 0.1 * i + 0.1))
        kinds = ("marker",) + ("speech",) * (len(tokens) - 1)
        sequence = SpeechTextSequence(torch.tensor(tokens), kinds, tuple(spans))
        utterances.append(Utterance(f"sentence {u}", sequence))
    return utterances


def make_hf_model(seed=0, *, n_layers=3, d_vocab=D_VOCAB):
    from transformers import AutoModelForCausalLM, Qwen2Config

    config = Qwen2Config(
        vocab_size=d_vocab,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=n_layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        initializer_range=0.3,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
        for name, parameter in model.named_parameters():
            if "norm" in name:  # weights of 1 would hide a norm that is left out or applied twice
                parameter.data.uniform_(0.5, 2.0)
    return model


def wrap(hf, vocab) -> Any:
    from slm_lens.families.checkpoint import Checkpoint
    from slm_lens.families.prompt import PromptFormat
    from slm_lens.model.hooked import HookedSLM

    checkpoint = Checkpoint(
        hf_model=hf,
        tokenizer=None,
        prepends_bos=False,
        appends_eos=False,
        vocab=vocab,
        prompt_format=PromptFormat(
            before=(),
            after=(),
            mark_speech_only=False,
            mark_text_only="text" in vocab.markers,
            repeat_marker=True,
        ),
        family="by hand",
    )
    return HookedSLM(checkpoint, name="tiny", unit_tokenizer=None)
