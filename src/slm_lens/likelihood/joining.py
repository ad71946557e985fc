"""A prompt and its completion as one sequence, and where the completion begins.

| prompt, completion | by | the completion begins |
|---|---|---|
| speech, speech | `join_speech` | with the first token that *starts* at or after the prompt's end |
| text, text | `join_segments` | with the first token of its first word |
| speech, text | `join_segments` | after the marker that announces text, or ends speech |
| text, speech | `join_segments` | after the marker that announces speech |

So the marker between two modalities belongs to the prompt. The completion goes to the end of the
sequence: what closes a whole utterance in the family's format (an end marker, ``<S>`` of Slam) is
scored with it, as slamkit does.

**Speech in speech.** Sound is joined, then encoded, as in slamkit; units of two clips encoded apart
and put together are another thing (each encoder sees silence at the join, and a run of one unit
across it would be written twice). A unit that sounds across the prompt's end began in the prompt,
and belongs to it: after deduplication the first frames of a completion may be part of such a unit,
and are then not scored. The encoder's receptive field mixes both sides of the join for a few
frames; no rule on units undoes that.

Source: joined sound and markers as in slamkit ``cross_modal_metric`` and
``_stringify_interleaved``; Maimon et al. 2025, arXiv:2504.02398. The rule of where a spoken
completion begins is ours; slamkit scores prompt and completion together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from slm_lens.families.prompt import PromptFormat
from slm_lens.model._inputs import check_units, words_of
from slm_lens.model._prompts import spoken_prompt, written_prompt
from slm_lens.model.hooked import HookedSLM
from slm_lens.sequence._build import written_run
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.sequence.streams import merge_streams, stream_times_s
from slm_lens.sequence.word_span import Modality, WordSpan
from slm_lens.speech.units import SpeechUnits, Units
from slm_lens.vocab import TOKEN_KINDS

_ROUNDING_S = 1e-6
"""Times that are nearer than this are the same: quotients of whole frames and samples."""


@dataclass(frozen=True, eq=False)
class Joined:
    """A prompt with its completion.

    Attributes:
        sequence: both, as one sequence.
        start: first position of the completion.
    """

    sequence: SpeechTextSequence
    start: int


def join_segments(
    model: HookedSLM,
    prompt: str | SpeechUnits,
    completion: str | SpeechUnits,
    *,
    marked: bool | None = None,
) -> Joined:
    """A written prompt or completion with the other part, in the format of the model's family.

    ::

        right = slm_lens.join_segments(model, units, "the savanna")
        wrong = slm_lens.join_segments(model, units, "the desert")
        trial = slm_lens.Trial("a", "", right.sequence, wrong.sequence, right.start, wrong.start)

    Words of a completion have a space before them where the family's text has
    (`PromptFormat.leading_space`); slamkit's cross-modal metric writes none before the first one.

    Args:
        model: the model.
        prompt: words with spaces between them, or the units of a clip (all streams by name, for a
            model of several).
        completion: likewise. Not both may be speech: see `join_speech`.
        marked: whether the prompt starts with the marker of its modality; None for as the family
            writes a prompt of one modality. slamkit's cross-modal metric always marks it.

    Returns:
        The sequence and where the completion begins.

    Raises:
        TypeError: prompt or completion are neither words nor units.
        ValueError: both are speech, there is no word, or no marker of the family's tells where
            the modality changes.
        VocabError: the model has no text, no marker where one is asked for, or a token would carry
            parts of two words.
    """  # noqa: DOC502 (some raised by the functions it calls)
    written = _is_written(prompt, "prompt"), _is_written(completion, "completion")
    if not any(written):
        raise ValueError(
            "join_segments: got speech as prompt and as completion, expected at least one of them "
            "written: sound is joined before it becomes units. Encode both clips as one, and give "
            "join_speech(model, units, prompt_s=...) the prompt's length."
        )
    model.vocab.require_text("join_segments", model.provenance.model_and_family)
    prompt_format = _marked(model.prompt_format, marked)
    if isinstance(prompt, str) and isinstance(completion, str):
        whole = written_prompt(
            f"{prompt} {completion}", model.vocab, prompt_format, continue_in=None, chat=False
        )
        return Joined(whole, whole.words[len(words_of(prompt))].start)
    return _across(model, prompt_format, prompt, completion)


def join_speech(
    model: HookedSLM, units: SpeechUnits, *, prompt_s: float, marked: bool | None = None
) -> Joined:
    """A spoken prompt with its spoken completion, encoded as one clip.

    Args:
        model: the model.
        units: units of the whole clip (all streams by name, for a model of several).
        prompt_s: how long the prompt lasts, in seconds: the completion begins with the first token
            that starts at or after it (to within a microsecond). A unit that sounds across that
            time belongs to the prompt.
        marked: whether the sequence starts with the marker of speech; None for as the family writes
            speech alone.

    Returns:
        The sequence and where the completion begins.

    Raises:
        TypeError: `units` are no units.
        ValueError: no token starts before the prompt's end, or none at or after it; the units are
            not the model's.
        VocabError: a unit, stream or marker is not in the vocabulary.
    """  # noqa: DOC502 (some raised by the functions it calls)
    check_units(units, model.vocab_spec)
    whole = spoken_prompt(
        units,
        None,
        model.vocab,
        _marked(model.prompt_format, marked),
        continue_in=None,
        chat=False,
    )
    starts_s = stream_times_s(units, model.vocab)[:, 0]
    n_of_prompt = int((starts_s < prompt_s - _ROUNDING_S).sum())
    if not 0 < n_of_prompt < len(starts_s):
        raise ValueError(
            f"join_speech: got prompt_s={prompt_s:g}, before which {n_of_prompt} of "
            f"{len(starts_s)} speech tokens start, expected some of both prompt and completion. Is "
            f"it in seconds? The last token starts at {float(starts_s[-1]):.3f} s."
        )
    return Joined(whole, whole.kinds.index("speech") + n_of_prompt)


def _across(
    model: HookedSLM,
    prompt_format: PromptFormat,
    prompt: str | SpeechUnits,
    completion: str | SpeechUnits,
) -> Joined:
    """Speech continued in text, or text in speech."""
    vocab = model.vocab
    if isinstance(prompt, str):
        assert not isinstance(completion, str)
        check_units(completion, model.vocab_spec)
        head = written_prompt(prompt, vocab, prompt_format, continue_in="speech", chat=False)
        tokens, words = list(merge_streams(completion, vocab).tokens), list[WordSpan]()
        modality: Modality = "speech"
    else:
        assert isinstance(completion, str)
        check_units(prompt, model.vocab_spec)
        head = spoken_prompt(prompt, None, vocab, prompt_format, continue_in="text", chat=False)
        run = written_run(words_of(completion), vocab, leading_space=prompt_format.leading_space)
        tokens, words, modality = list(run.tokens), list(run.words), "text"
    if head.kinds[-1] != "marker":
        raise ValueError(
            f"join_segments: got a completion in {modality} for "
            f"{model.provenance.model_and_family}, whose format has no marker between the prompt "
            f"and it (markers: {sorted(vocab.markers)}), expected one that tells where the "
            "modality changes. Give prompt and completion in one modality."
        )
    start = len(head)
    end = vocab.markers.get(f"{modality}_end")
    closing = [*([] if end is None else [end]), *prompt_format.after]
    ids = torch.tensor([*head.tokens.tolist(), *tokens, *closing], dtype=torch.int64)
    kinds = tuple(TOKEN_KINDS[k] for k in vocab.kind_of[ids].tolist())
    shifted = [replace(w, start=w.start + start, end=w.end + start) for w in words]
    return Joined(SpeechTextSequence(ids, kinds, (*head.words, *shifted)), start)


def _marked(prompt_format: PromptFormat, marked: bool | None) -> PromptFormat:
    if marked is None:
        return prompt_format
    return replace(prompt_format, mark_speech_only=marked, mark_text_only=marked)


def _is_written(part: object, name: str) -> bool:
    """Whether a prompt or completion is text; units are not."""
    if isinstance(part, str) and not part.split():
        raise ValueError(
            f"join_segments: got {part!r} as {name}, expected at least one word. A sequence "
            "without a prompt needs no joining: Trial(right_start=None, wrong_start=None)."
        )
    if not isinstance(part, str | Units | Mapping):
        raise TypeError(
            f"join_segments: got a {type(part).__name__} as {name}, expected words with spaces "
            "between them, or Units (all streams by name, for a model of several)."
        )
    return isinstance(part, str)
