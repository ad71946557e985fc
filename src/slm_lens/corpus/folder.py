"""A folder of clips with word times, as utterances of a model."""

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from slm_lens.errors import AlignmentError
from slm_lens.model.hooked import HookedSLM
from slm_lens.sequence.utterance import Utterance
from slm_lens.speech.alignment import Alignment
from slm_lens.speech.alignment_files import read_alignment
from slm_lens.speech.audio import read_audio
from slm_lens.speech.units import SpeechUnits

AUDIO_ENDINGS = (".flac", ".ogg", ".wav")
ALIGNMENT_ENDINGS = (".TextGrid", ".json", ".ctm")
HELD_OUT = "held-out"


def clips_of(name_or_folder: str | Path) -> tuple[tuple[Path, Path], ...]:
    """Sound files of a folder, each with the file that has its word times.

    Args:
        name_or_folder: a folder, or ``"held-out"`` for the clips that ship with the package. Each
            ``clip.flac`` (``.wav``, ``.ogg``) stands beside its ``clip.TextGrid`` (``.json``,
            ``.ctm``).

    Returns:
        Pairs of sound file and alignment file, sorted by name.

    Raises:
        LookupError: there is no such folder, or it has no sound files.
        AlignmentError: a clip has no alignment file, or several.
    """  # noqa: DOC502 (AlignmentError is raised by the helper)
    return tuple(
        (sound, alignment_beside(sound, "clips_of")) for sound in sounds_of(name_or_folder)
    )


def sounds_of(name_or_folder: str | Path) -> list[Path]:
    """Sound files of a folder, whatever is beside them.

    Args:
        name_or_folder: see `clips_of`.

    Returns:
        The files, sorted by name.

    Raises:
        LookupError: there is no such folder, or it has no sound files.
    """
    folder = Path(name_or_folder)
    if name_or_folder == HELD_OUT:
        folder = Path(str(files("slm_lens").joinpath("data", HELD_OUT)))
    if not folder.is_dir():
        raise LookupError(
            f"clips_of: no folder at {str(name_or_folder)!r}, expected one with sound files and "
            f"alignments, or {HELD_OUT!r} for the clips of the package."
        )
    sounds = sorted(p for p in folder.iterdir() if p.suffix.lower() in AUDIO_ENDINGS)
    if not sounds:
        raise LookupError(
            f"clips_of: {folder} has no sound file, expected files ending in {AUDIO_ENDINGS}."
        )
    return sounds


def alignment_beside(sound: Path, caller: str) -> Path:
    """The one file of word times beside a sound file.

    Args:
        sound: the sound file.
        caller: the public function, to begin messages with.

    Returns:
        The alignment file.

    Raises:
        AlignmentError: there is none, or several.
    """
    beside = [p for e in ALIGNMENT_ENDINGS if (p := sound.with_suffix(e)).exists()]
    if len(beside) != 1:
        raise AlignmentError(
            f"{caller}: {sound.name} has {len(beside)} alignment files beside it "
            f"({[p.name for p in beside]}), expected one of "
            f"{[sound.stem + e for e in ALIGNMENT_ENDINGS]}. Align it first, e.g. with the "
            "Montreal Forced Aligner or WhisperX."
        )
    return beside[0]


def read_utterances(
    model: HookedSLM,
    name_or_folder: str | Path,
    *,
    overlap: Literal["refuse", "trim"] = "refuse",
    missing: Literal["refuse", "interpolate"] = "refuse",
) -> tuple[Utterance, ...]:
    """All clips of a folder as the model reads them.

    Args:
        model: turns sound into units and units into tokens.
        name_or_folder: see `clips_of`.
        overlap: what to do with words that overlap in time; see `read_alignment`.
        missing: what to do with words without times; see `read_alignment`.

    Returns:
        One utterance for each clip, named after its file.
    """
    return tuple(
        Utterance(name=name, sequence=model.sequence_from_units(units, alignment))
        for name, units, alignment in encoded_clips(
            model, name_or_folder, overlap=overlap, missing=missing
        )
    )


def encoded_clips(
    model: HookedSLM, name_or_folder: str | Path, **options: Any
) -> Iterator[tuple[str, SpeechUnits, Alignment]]:
    """All clips of a folder in the model's units, one at a time.

    Args:
        model: turns sound into units.
        name_or_folder: see `clips_of`.
        **options: of `read_alignment`: what to do with words that overlap or have no times.

    Yields:
        Name, units and words of each clip.
    """
    for sound, _ in clips_of(name_or_folder):
        yield sound.stem, *encoded_clip(model, sound, **options)


def encoded_clip(
    model: HookedSLM, sound: Path, *, caller: str = "clips_of", **options: Any
) -> tuple[SpeechUnits, Alignment]:
    """One clip in the model's units.

    Args:
        model: turns sound into units.
        sound: a sound file, with the file of its word times beside it.
        caller: the public function, to begin messages with.
        **options: as in `encoded_clips`.

    Returns:
        Units and words.
    """
    beside = alignment_beside(sound, caller)
    tokenizer = model.unit_tokenizer
    waveform = read_audio(sound, sample_rate_hz=tokenizer.sample_rate_hz)
    duration_s = waveform.numel() / tokenizer.sample_rate_hz
    alignment = read_alignment(beside, clip_duration_s=duration_s, **options)
    return tokenizer.encode(waveform), alignment
