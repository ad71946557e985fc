"""Many utterances of one or more models in one view: one is unpacked and drawn at a time."""

import gzip
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from slm_lens.lens.grid_result import LensGrid
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.views._json_script import json_for_script
from slm_lens.views.lens_grid import lens_grid_data, named_token
from slm_lens.views.page import View
from slm_lens.views.sound import OPUS_RATES_HZ, Codec, encoded_sound, outline, sound_data
from slm_lens.views.tokens import groups_of
from slm_lens.views.waveform import timeline


def explorer_view(
    grids: Mapping[str, Sequence[LensGrid]],
    clips: Mapping[str, tuple[Float[Tensor, " _"], int]],
    *,
    title: str = "Explore the utterances",
) -> View:
    """Choose a model and an utterance: its sound, its tokens and its lens grid.

    Lens grids are packed (gzip) and unpacked by the browser when they are chosen, so a page with
    many of them opens at once and stays small.

    Args:
        grids: lens grids of each model, by its name; of the same utterances in the same order.
        clips: samples and sample rate in Hz of each utterance, by name; those without are silent.
        title: heading.

    Returns:
        The view.

    Raises:
        ValueError: there is no grid, or models have grids of different utterances.
    """
    names = {model: [g.utterance for g in found] for model, found in grids.items()}
    first = next(iter(names.values()), [])
    if not first or any(other != first for other in names.values()):
        few = {model: found[:3] for model, found in names.items()}
        raise ValueError(
            f"explorer_view: got lens grids of {few}, expected at least one, and for each model "
            "the same utterances in the same order."
        )
    some = next(iter(grids.values()))
    return View(
        kind="explorer",
        data={
            "models": list(grids),
            "utterances": [
                {"name": g.utterance, "words": " ".join(w.word for w in g.words)} for g in some
            ],
            "sounds": [_sound(g, clips) for g in some],
            "packed": [[_packed(g) for g in found] for found in grids.values()],
        },
        title=title,
        description=(
            f"{len(first)} utterances read by {' and '.join(grids)}. Choose one to hear it and to "
            "see what every layer says at its words."
        ),
        scripts=(
            "player",
            "waveform",
            "tokens",
            "speech_tokens",
            "cell_grid",
            "lens_grid_model",
            "rank_lines",
            "lens_grid",
        ),
    )


def described_grid(grid: LensGrid) -> dict[str, Any]:
    """The positions that a grid was read from, as ``views/js/tokens.js`` draws them.

    Args:
        grid: the grid, which holds the names of all its tokens.

    Returns:
        What `described_positions` gives, without times of single units.
    """
    word_of = {p: i for i, w in enumerate(grid.words) for p in range(w.start, w.end)}
    positions = []
    for p, token in enumerate(grid.tokens.tolist()):
        found = {"token": token, **named_token(grid, token)}
        if p in word_of:
            found["word"] = word_of[p]
        positions.append(found)
    return {
        "positions": positions,
        "words": [
            {
                "word": w.word,
                "modality": w.modality,
                "start": w.start,
                "end": w.end,
                "start_s": w.start_s,
                "end_s": w.end_s,
            }
            for w in grid.words
        ],
        "groups": groups_of(SpeechTextSequence(grid.tokens, grid.kinds, grid.words)),
    }


def _packed(grid: LensGrid) -> np.ndarray:
    sent = {"grid": lens_grid_data(grid), "tokens": described_grid(grid)}
    text = json_for_script(sent).encode("utf-8")
    return np.frombuffer(gzip.compress(text, mtime=0), dtype=np.uint8)


def _sound(grid: LensGrid, clips: Mapping[str, tuple[Tensor, int]]) -> dict[str, Any] | None:
    if grid.utterance not in clips:
        return None
    waveform, rate_hz = clips[grid.utterance]
    codec: Codec = "opus" if rate_hz in OPUS_RATES_HZ else "flac"
    return {
        "sound": sound_data(encoded_sound(waveform, rate_hz, codec), codec),
        "outline": outline(waveform),
        **timeline(waveform.numel() / rate_hz, grid.words),
    }
