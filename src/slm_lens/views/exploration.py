"""One utterance on one page: every view of it, linked by the selected word."""

from slm_lens.studies.exploration import Exploration
from slm_lens.views.attention import attention_heads
from slm_lens.views.coloured_tokens import attributed_tokens
from slm_lens.views.lens_grid import lens_grid_view
from slm_lens.views.page import Page, View
from slm_lens.views.patching_map import patching_map
from slm_lens.views.sound import Codec
from slm_lens.views.speech_tokens import speech_tokens
from slm_lens.views.waveform import waveform_view


def exploration_page(exploration: Exploration, *, codec: Codec = "flac") -> Page:
    """Sound, tokens, lens grid, attention, attribution and patching of an utterance.

    Args:
        exploration: what `slm_lens.explore` read.
        codec: how the sound is stored, as in `encoded_sound`.

    Returns:
        The page; a word that is selected in one view is selected in all.
    """
    return Page(
        exploration_views(exploration, codec=codec),
        title=f"{exploration.name}, read by {exploration.provenance.name}",
    )


def exploration_views(exploration: Exploration, *, codec: Codec = "flac") -> list[View]:
    """The views of `exploration_page`, in order; what was not asked for is left out.

    Args:
        exploration: what `slm_lens.explore` read.
        codec: as there.

    Returns:
        The views.
    """
    name, sequence = exploration.name, exploration.utterance.sequence
    views: list[View] = []
    if exploration.audio is not None:
        audio = exploration.audio
        views.append(
            waveform_view(
                audio.waveform, audio.sample_rate_hz, sequence.words, codec=codec, utterance=name
            )
        )
    views.append(
        speech_tokens(sequence, exploration.vocab, units=exploration.units, utterance=name)
    )
    views.append(lens_grid_view(exploration.grid))
    if exploration.attention is not None:
        views.append(
            attention_heads(
                exploration.attention,
                sequence,
                exploration.vocab,
                layers=exploration.attention_layers,
                utterance=name,
            )
        )
    if exploration.attribution is not None:
        views.append(attributed_tokens(exploration.attribution, exploration.vocab, utterance=name))
    if exploration.patching is not None:
        views.append(patching_map(exploration.patching, sequence, utterance=name))
    return views
