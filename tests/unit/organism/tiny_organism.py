"""Spoken stories without a voice: words with random units, to try documents and training on."""

from dataclasses import replace

import numpy as np

from slm_lens.organism.corpus import N_UNITS, SpokenStory, training_story
from slm_lens.organism.recipe import SMOKE, Recipe


def made_up_stories(n=6, seed=0):
    """Each word has 0 to 5 units, with a pause of two units after some words."""
    rng = np.random.default_rng(seed)
    stories = []
    for index in range(n):
        words = tuple(" ".join(training_story(index, spoken=True)).split())
        spans, position = [], 1
        for _ in words:
            length = int(rng.integers(0, 6))
            spans.append((position, position + length))
            position += length + 2 * int(rng.random() < 0.3)
        units = rng.integers(N_UNITS, size=position + 1).astype(np.int16)
        stories.append(SpokenStory(words, units, tuple(spans)))
    return stories


def tiny_recipe(**changes) -> Recipe:
    sizes = {"d_model": 16, "d_mlp": 32, "n_layers": 4, "n_positions": 24}
    return replace(SMOKE, **(sizes | changes))
