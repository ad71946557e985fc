"""Facts for the model of `planted`, known if and only if their word is heard right.

In the planted model each word is followed by the next one of a circle. A *fact* is "what follows
word w?": a spoken prompt that ends in w, and as completion the first unit of word w + 1, or, wrong,
of word w + `SHIFT` + 1. `mishearing_model` changes two things by hand:

* at layer 2 the units of the words in `misheard` write the text of word w + `SHIFT`, not of w;
* at layer 6 the last unit of a word goes on with the first unit of the word that *text* names, and
  not with what the unit itself says.

So the model knows the fact of the word that it transcribes, and of no other.
"""

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from planted import (
    _IN,
    _OUT,
    _WORD,
    N_UNITS,
    N_WORDS,
    PREDICTS,
    RETURNS,
    SPEECH_MARKER,
    TRANSCRIBES,
    UNITS_PER_WORD,
    WORDS,
    Clip,
    planted_model,
    spoken,
)

SHIFT = 4
MISHEARD = tuple(range(0, N_WORDS, 2))
"""Every other word."""


def mishearing_model(misheard: Collection[int] = MISHEARD, *, name: str = "mishearing") -> Any:
    """The planted model, which hears some words as others and speaks what it reads."""
    model = planted_model(name=name)
    heard = _weight(model, TRANSCRIBES - 1)
    returns = _weight(model, RETURNS - 1)
    first_of = [_OUT + UNITS_PER_WORD * w for w in range(N_WORDS)]
    with torch.no_grad():
        for w in misheard:
            for unit in range(UNITS_PER_WORD * w, UNITS_PER_WORD * (w + 1)):
                written = heard[_WORD + w, unit].item()  # one row of the block for each unit
                heard[_WORD + w, unit] = 0
                heard[_WORD + (w + SHIFT) % N_WORDS, unit] = written
        for w in range(N_WORDS):
            last = UNITS_PER_WORD * (w + 1) - 1
            after = _OUT + (last + 1) % N_UNITS
            says = returns[after, _IN + last].item()
            returns[after, _IN + last] = 0
            returns[first_of[w], N_UNITS + w] = says  # rows of words follow those of units
    assert PREDICTS == 4, "what the text names at layer 6 is the word that follows"
    return model


def _weight(model: Any, block: int) -> torch.Tensor:
    """What a block's hidden rows write, ``[d_model, row]``."""
    ending = f"layers.{block}.mlp.down_proj.weight"
    named = {n.replace("._original_component", ""): p for n, p in model.named_parameters()}
    (found,) = {id(p): p for n, p in named.items() if n.endswith(ending)}.values()
    return found


def fact_items(n_voices: int = 2, *, seed: int = 0, n_others: int = 2) -> list[Any]:
    """Facts of all words, each after some other words; a cluster is a word."""
    from slm_lens.likelihood.trial import Trial
    from slm_lens.sequence.sequence import SpeechTextSequence
    from slm_lens.studies.knowledge.fact_items import FactItem

    rng, items = np.random.default_rng(seed), []
    for w in range(N_WORDS):
        for v in range(n_voices):
            before = tuple(rng.integers(N_WORDS, size=n_others).tolist())
            prompt = spoken(Clip(f"{WORDS[w]} {v}", (*before, w)))
            right, wrong = (
                SpeechTextSequence(
                    torch.cat([prompt.sequence.tokens, torch.tensor([first_unit(word)])]),
                    (*prompt.sequence.kinds, "speech"),
                    prompt.sequence.words,
                )
                for word in (w + 1, w + SHIFT + 1)
            )
            start = len(prompt.sequence)
            trial = Trial(prompt.name, "", right, wrong, start, start)
            items.append(FactItem(prompt.name, "next", WORDS[w], {"S->S": trial}, prompt, n_others))
    return items


def first_unit(word: int) -> int:
    """Token id of the first unit of a word, counted round the circle."""
    return SPEECH_MARKER - N_UNITS + UNITS_PER_WORD * (word % N_WORDS)
