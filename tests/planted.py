"""A model whose weights are set by hand, so that what a study has to find is known.

Six layers. Speech is units, three to a word; word ``w`` is followed by word ``w + 1``, in a circle.

* layers 0 and 1: units lie in directions of their own; nothing is readable as text;
* layer 2: every unit of a word writes the word's text direction (transcription);
* layer 4: the word's direction is replaced by that of the word that follows (prediction);
* layer 6: at speech positions, text is removed and the unit that follows is written (return).

Written words lie in the word directions from the embedding on and pass layer 4 as spoken ones do;
so speech and text share states at layers 2 to 5. No attention: every position speaks for itself.
A little noise in the embedding breaks ties.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

WORDS = (
    "zebra", "river", "banana", "doctor", "guitar", "yellow", "castle", "pepper", "walrus",
    "candle", "honey", "ladder",
)  # fmt: skip
UNITS_PER_WORD = 3
N_WORDS, N_UNITS = len(WORDS), UNITS_PER_WORD * len(WORDS)
N_LAYERS, D_MODEL = 6, 96
TRANSCRIBES, PREDICTS, RETURNS = 2, 4, 6

_IN, _WORD, _OUT = 0, N_UNITS, N_UNITS + N_WORDS  # first dimension of each subspace
_CONST, _SPEECH = 2 * N_UNITS + N_WORDS, 2 * N_UNITS + N_WORDS + 1
SPEECH_MARKER, TEXT_MARKER = N_WORDS + N_UNITS, N_WORDS + N_UNITS + 1
D_VOCAB = TEXT_MARKER + 1
_NOISE, _WRITTEN = 0.05, 6.0


@dataclass(frozen=True)
class Clip:
    """Words that follow each other, and the name of their utterance."""

    name: str
    words: tuple[int, ...]


def planted_vocab() -> Any:
    """Text ids are the words, then units, ``<speech>``, ``<text>``."""
    from slm_lens.vocab import SpeechTextVocab

    ids = {f" {w}": i for i, w in enumerate(WORDS)}

    def encode(text: str) -> list[int]:
        """A token for each known word with a space before it; two of anything else."""
        pieces = [f" {piece}" for piece in text[1:].split(" ")]
        is_known = text.startswith(" ") and all(piece in ids for piece in pieces)
        return [ids[piece] for piece in pieces] if is_known else [0, 0]

    return SpeechTextVocab(
        d_vocab=D_VOCAB,
        text=range(N_WORDS),
        streams={"units": range(N_WORDS, N_WORDS + N_UNITS)},
        markers={"speech": SPEECH_MARKER, "text": TEXT_MARKER},
        specials={},
        padding=range(D_VOCAB, D_VOCAB),
        encode_text=encode,
        labels={i: f" {w}" for i, w in enumerate(WORDS)},
    )


def planted_model(
    *,
    planted: bool = True,
    seed: int = 0,
    name: str = "planted",
    transcribing: tuple[int, ...] = tuple(range(UNITS_PER_WORD)),
    unit_tokenizer: Any = None,
) -> Any:
    """The model; with ``planted=False`` the same class with random weights: the null model.

    Of each word, the units in ``transcribing`` (counted from 0) write its direction at layer 2.
    """
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from slm_lens.families.checkpoint import Checkpoint
    from slm_lens.families.prompt import PromptFormat
    from slm_lens.model.hooked import HookedSLM

    config = Qwen2Config(
        vocab_size=D_VOCAB,
        hidden_size=D_MODEL,
        intermediate_size=128,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=False,
        initializer_range=0.2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        hf_model = Qwen2ForCausalLM(config).eval()
    hf_model.set_attn_implementation("eager")
    if planted:
        _plant(hf_model, np.random.default_rng(seed), transcribing)
    checkpoint = Checkpoint(
        hf_model=hf_model,
        tokenizer=None,
        prepends_bos=False,
        appends_eos=False,
        vocab=planted_vocab(),
        prompt_format=PromptFormat(
            before=(), after=(), mark_speech_only=True, mark_text_only=True, repeat_marker=True
        ),
        family="by hand",
    )
    return HookedSLM(checkpoint, name=name, unit_tokenizer=unit_tokenizer)


def planted_clips(n: int, *, n_words: int = 6, seed: int = 0) -> list[Clip]:
    """Runs of the circle of words, from a random one on."""
    rng = np.random.default_rng(seed)
    starts = rng.integers(N_WORDS, size=n).tolist()
    return [
        Clip(f"clip {i}", tuple((s + j) % N_WORDS for j in range(n_words)))
        for i, s in enumerate(starts)
    ]


def spoken(clip: Clip) -> Any:
    """A clip as an utterance of units: ``<speech>``, then three units a word, 0.2 s a word."""
    from slm_lens.sequence.sequence import SpeechTextSequence
    from slm_lens.sequence.utterance import Utterance
    from slm_lens.sequence.word_span import WordSpan

    tokens, words = [SPEECH_MARKER], []
    for i, w in enumerate(clip.words):
        start = len(tokens)
        tokens += [N_WORDS + UNITS_PER_WORD * w + j for j in range(UNITS_PER_WORD)]
        words.append(WordSpan(WORDS[w], "speech", start, len(tokens), 0.2 * i, 0.2 * (i + 1)))
    kinds = ("marker",) + ("speech",) * (len(tokens) - 1)
    return Utterance(clip.name, SpeechTextSequence(torch.tensor(tokens), kinds, tuple(words)))


def written(clip: Clip) -> Any:
    """The same words in text: ``<text>``, then a token a word."""
    from slm_lens.sequence.sequence import SpeechTextSequence
    from slm_lens.sequence.utterance import Utterance
    from slm_lens.sequence.word_span import WordSpan

    tokens = [TEXT_MARKER, *clip.words]
    words = [WordSpan(WORDS[w], "text", i + 1, i + 2) for i, w in enumerate(clip.words)]
    kinds = ("marker",) + ("text",) * len(clip.words)
    return Utterance(clip.name, SpeechTextSequence(torch.tensor(tokens), kinds, tuple(words)))


@torch.no_grad()
def _plant(hf_model: Any, rng: np.random.Generator, transcribing: tuple[int, ...]) -> None:
    for name, parameter in hf_model.named_parameters():
        parameter.fill_(1.0 if "norm" in name else 0.0)
    embedding = torch.from_numpy(rng.normal(0, _NOISE, (D_VOCAB, D_MODEL))).float()
    embedding[:, _CONST] += 1.0
    for w in range(N_WORDS):
        embedding[w, _WORD + w] += _WRITTEN
    for u in range(N_UNITS):
        embedding[N_WORDS + u, _IN + u] += 1.0
        embedding[N_WORDS + u, _SPEECH] += 1.0
    hf_model.model.embed_tokens.weight.copy_(embedding)
    for w in range(N_WORDS):
        hf_model.lm_head.weight[w, _WORD + w] = 1.0
    for u in range(N_UNITS):
        hf_model.lm_head.weight[N_WORDS + u, _OUT + u] = 1.0

    words, units = range(N_WORDS), range(N_UNITS)
    after = {
        u: u + 1 if u % UNITS_PER_WORD < UNITS_PER_WORD - 1 else (u + 1) % N_UNITS for u in units
    }
    heard = {
        (_IN + u, _WORD + u // UNITS_PER_WORD): _WRITTEN
        for u in units
        if u % UNITS_PER_WORD in transcribing
    }
    follows = {(_WORD + w, _WORD + w): -1.0 for w in words}
    follows |= {(_WORD + w, _WORD + (w + 1) % N_WORDS): 1.5 for w in words}
    returns = {(_WORD + w, _WORD + w): -1.0 for w in words}
    returns |= {(_IN + u, _OUT + after[u]): 12.0 for u in units}
    _set_mlp(hf_model, TRANSCRIBES - 1, _SPEECH, heard)
    _set_mlp(hf_model, PREDICTS - 1, _CONST, follows)
    _set_mlp(hf_model, RETURNS - 1, _SPEECH, returns)


def _set_mlp(hf_model: Any, block: int, gate: int, weights: dict[tuple[int, int], float]) -> None:
    """Let a block add ``weights[i, o] * h[i]`` to ``h[o]`` where the gate's dimension is 1.

    silu is linear for large numbers, so gate * up is a product of two normed inputs; it is scaled
    by the mean square of the states that a unit has there.
    """
    reads = sorted({i for i, _ in weights})
    mlp = hf_model.model.layers[block].mlp
    tokens = torch.arange(N_WORDS, N_WORDS + N_UNITS)[None]
    states = hf_model.model(tokens, output_hidden_states=True).hidden_states[block]
    mean_square = states.pow(2).mean().item()
    steep = 50.0
    for row, i in enumerate(reads):
        mlp.gate_proj.weight[row, gate] = steep
        mlp.up_proj.weight[row, i] = 1.0
        for (source, target), weight in weights.items():
            if source == i:
                mlp.down_proj.weight[target, row] = weight * mean_square / steep
