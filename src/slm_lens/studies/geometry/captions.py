"""What the rows of each table are, and which tables the page shows."""

import polars as pl

CAPTIONS = {
    "layers": "A row is a measure at a layer (0 = embedding): mean over utterances (words for "
    "word_cosine) with its 95 % interval over resampled utterances (for words, crossed with word "
    "types). control: none, clip and its own text; shuffled sentences, clip and the texts of "
    "others of about as many words; random weights, clip and own text, mean over n_random copies "
    "of the model with a 95 % prediction interval for one more, at all layers together.",
    "excess": "A row is a measure at a layer: matched less shuffled pairs, with its 95 % interval "
    "as in layers; random, random_low and random_high: the same of copies with random weights "
    "and the 95 % prediction interval for one more. closer: above both; null where that was "
    "not judged (no intervals, fewer than two copies, or a measure with a scale of its own).",
    "cka": "A row is a speech layer and a text layer: CKA of states that stand for each other "
    "(align), its 95 % interval (delete-a-group jackknife), CKA with the words of shuffled "
    "sentences (n_shuffled have such a partner), mean CKA of random-weights copies, and the mean "
    "cosine of the same pairs, centred by layer, with the same controls.",
    "cka_rows": "A row is a speech layer: the text layer with the highest CKA (lowest to highest: "
    "over the jackknife's parts), CKA there and its controls, band_width: text layers with at "
    "least the stated share of it; the same of random-weights copies; and the text layer with the "
    "highest centred cosine, with its controls.",
    "agreement": "A row is a way of aligning at a layer: share of speech positions inside words "
    "that are put beside the text of their own word (dtw: of steps; best match: of text tokens), "
    "with a 95 % interval over utterances. The straight line, equal parts of the text, needs no "
    "model.",
    "attention": "A row is a layer, modality of the prompt and way of bringing heads together: "
    "mean over prompts of the fewest positions that hold 90 % of the last position's attention, "
    "with a 95 % interval over utterances; uniform: the same if it looked at all positions alike; "
    "the largest weight; entropy over that of uniform attention.",
    "gap": "A row is a model: share of prompts after which the likeliest text token begins the "
    "next word, written and spoken, their difference with its 95 % interval over utterances, and "
    "the same share for another clip's word (control); beside it the highest excess of two "
    "measures and how much further attention is spread after speech. Only next words; facts are "
    "not asked here.",
    "example": "A row is a speech position and a text token of one utterance: their cosine at the "
    "base layer.",
    "example_path": "A row is a step of the time warping of that matrix, or a speech position and "
    "a text token of one word.",
}

_ON_PAGE = ("cka_rows", "gap")
_LONGEST = 60
"""Rows of a table that the page shows: with more layers or models it is no reading."""


def is_on_page(name: str, frame: pl.DataFrame) -> bool:
    """Whether the page shows a table, or only names its file.

    Args:
        name: of the table.
        frame: its rows.

    Returns:
        True for the short ones that the findings come from.
    """
    return name in _ON_PAGE and 0 < len(frame) <= _LONGEST
