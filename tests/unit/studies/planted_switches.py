"""Clips for the planted model that jump once in their circle of words, and a state that lags.

A unit lasts 1/16 s, a word three units: exact in binary, so that no time is rounded. At the jump
another word is heard than the one that the model was about to write.
"""

from contextlib import contextmanager

import numpy as np
import torch
from planted import N_WORDS, UNITS_PER_WORD, WORDS

FRAME_RATE_HZ = 16.0
JUMP = 3
"""Index of the word that does not follow the one before it."""

_WORD = UNITS_PER_WORD * N_WORDS  # first dimension of the words, as in `planted`
_SPEECH = 2 * _WORD + N_WORDS + 1


def jumping_clips(n, *, seed=0):
    """Name, units and words: ``s, s+1, s+2``, a jump to ``j``, ``j+1, j+2``, and ``j`` again."""
    from slm_lens.speech.alignment import AlignedWord, Alignment
    from slm_lens.speech.units import Units

    rng = np.random.default_rng(seed)
    word_s, clips = UNITS_PER_WORD / FRAME_RATE_HZ, []
    for i in range(n):
        start = int(rng.integers(N_WORDS))
        jump = start + int(rng.integers(JUMP + 1, N_WORDS - 2))
        words = [*range(start, start + JUMP), *range(jump, jump + 3), jump, jump + 1]
        units = [UNITS_PER_WORD * (w % N_WORDS) + k for w in words for k in range(UNITS_PER_WORD)]
        ids = torch.tensor(units)
        spoken = tuple(
            AlignedWord(WORDS[w % N_WORDS], word_s * k, word_s * (k + 1))
            for k, w in enumerate(words)
        )
        clips.append(
            (f"clip {i}", Units(ids, torch.ones_like(ids), FRAME_RATE_HZ), Alignment(spoken))
        )
    return clips


@contextmanager
def lagging(model, n_positions, strength=12.0):
    """For so many units after a text, the embedding holds the word that would have been next."""
    from slm_lens.interventions.changing import EVERYWHERE, Change, changed
    from slm_lens.interventions.site import Site

    def carry(states, _positions):
        new = states.clone()
        words = states[..., _WORD : _WORD + N_WORDS]
        for row in range(states.shape[0]):
            written = (words[row].max(-1).values > 3).nonzero()[:, 0].tolist()
            for position in (states[row, :, _SPEECH] > 0.5).nonzero()[:, 0].tolist():
                before = [p for p in written if p < position]
                # The marker stands between the last written word and the first unit.
                if before and position - before[-1] - 1 <= n_positions:
                    planned = (int(words[row, before[-1]].argmax()) + 1) % N_WORDS
                    new[row, position, _WORD + planned] += strength
        return new

    with changed(model, [Change(Site("resid_pre", 0), EVERYWHERE, carry)]):
        yield
