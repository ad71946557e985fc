"""How often each word stands in what the organism was trained to read."""

from collections import Counter
from functools import cache

from slm_lens.organism.corpus import training_story
from slm_lens.organism.documents import N_WRITTEN_STORIES


@cache
def training_word_counts() -> Counter[str]:
    """Words of all written training stories, each story once.

    Returns:
        Counts by word, in lower case.
    """
    counts = Counter[str]()
    for index in range(N_WRITTEN_STORIES):
        counts.update(" ".join(training_story(index, spoken=False)).split())
    return counts
