"""How the models of a family were taught to read a prompt.

A prompt is, in this order (parts that a family lacks are empty)::

    before  chat[modality].before  <marker> run <end marker> ...  chat[modality].after  after

Markers are those of the vocabulary (`SpeechTextVocab.markers`); chat and ``after`` exclude each
other. For generation the end is left off, and the modality to go on in is announced instead:

| family | whole | to go on in speech |
|---|---|---|
| SIMS | ``<text> the zebra`` | ``<text> the zebra<speech>`` |
| Slam | ``<S><Un3><Un49><S>`` | ``<S><Un3><Un49>`` |
| Spirit LM | ``<s>[Speech][Hu3][Hu49]`` | the same |
| Llama-Mimi | ``<audio><3_0><49_1></audio>`` | ``<audio><3_0><49_1>`` |
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from slm_lens.sequence.word_span import Modality


@dataclass(frozen=True)
class Turn:
    """What an instruct model reads around the user's words.

    Attributes:
        before: token ids before them, e.g. the system prompt and ``<|user|>``.
        after: token ids after them, up to where the model's answer starts, e.g.
            ``<|assistant|>``.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass(frozen=True)
class PromptFormat:
    """How a model was taught to read a prompt.

    Attributes:
        before: token ids at the start of every prompt.
        after: token ids at the end of a whole utterance; left off where the model is to go on.
        mark_speech_only: whether a prompt of speech alone has the markers of speech.
        mark_text_only: whether a prompt of text alone has the markers of text.
        repeat_marker: whether the marker of a modality is written once more when the model is to
            go on in the modality in which the prompt ends.
        chat: the turn around spoken and around written words of a user; empty for models that
            were not taught one.
        leading_space: whether the first word of a run of text has a space before it, as every
            word has in slamkit's alignments. Without, the text is written as people write it;
            SentencePiece puts its own mark before the first word.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    mark_speech_only: bool
    mark_text_only: bool
    repeat_marker: bool
    chat: Mapping[Modality, Turn] = field(default_factory=dict)
    leading_space: bool = True
