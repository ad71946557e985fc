"""Spoken stories as units with word spans: what the organism learns speech from.

Speaking is cheap (hours of audio a minute), so a corpus is made again from its seed rather than
shipped; what is kept is one ``.npz`` with units and word spans.
"""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import soxr
import torch
from jaxtyping import Float, Int
from rich.progress import Progress
from torch import Tensor

from slm_lens._atomic import write_atomically
from slm_lens.organism.language import StoryTeller
from slm_lens.sequence.spans import word_unit_spans
from slm_lens.speech.alignment import AlignedWord, Alignment
from slm_lens.speech.mfcc import MfccKMeans, mfcc_features
from slm_lens.speech.synthesis import EspeakSynthesizer, SpokenText, Voice

TRAINING_VOICES = ("en-us", "en-us+f2", "en+m3")
HELD_OUT_VOICE = "en-us+f4"
N_UNITS = 100

_HELD_OUT_SEED, _TRAINING_SEED, _CLUSTER_SEED = 1, 2, 3


@dataclass(frozen=True)
class SpokenStory:
    """One spoken story as the model reads it.

    Attributes:
        words: the words in order.
        units: deduplicated unit ids.
        spans: half-open span of units for each word, by the slamkit rule.
    """

    words: tuple[str, ...]
    units: Int[np.ndarray, " n_units"]
    spans: tuple[tuple[int, int], ...]


def draw_voice(generator: np.random.Generator, names: Sequence[str]) -> Voice:
    """A voice with its own rate, pitch and liveliness.

    Args:
        generator: source of randomness.
        names: espeak-ng voices to choose from.

    Returns:
        The voice.
    """
    return Voice(
        name=str(names[int(generator.integers(len(names)))]),
        rate_wpm=int(generator.integers(135, 181)),
        pitch=int(generator.integers(35, 66)),
        pitch_range=int(generator.integers(35, 66)),
    )


def speak_sentences(
    synthesizer: EspeakSynthesizer, sentences: Sequence[str], voice: Voice, sample_rate_hz: int
) -> SpokenText:
    """Speak sentences with a pause after each.

    Args:
        synthesizer: espeak-ng.
        sentences: written sentences without punctuation.
        voice: who speaks.
        sample_rate_hz: sample rate of the result.

    Returns:
        The clip; its words are in lower case.
    """
    text = " ".join(f"{s.capitalize()}." for s in sentences)
    spoken = synthesizer.speak(text, voice)
    samples = soxr.resample(spoken.waveform.numpy(), spoken.sample_rate_hz, sample_rate_hz)
    words = tuple(AlignedWord(w.word.lower(), w.start_s, w.end_s) for w in spoken.alignment)
    return SpokenText(torch.from_numpy(samples), sample_rate_hz, Alignment(words))


def held_out_stories(n_stories: int = 30) -> tuple[tuple[str, ...], ...]:
    """The written held-out stories; none of their sentences is in any training story.

    Args:
        n_stories: how many.

    Returns:
        The sentences of each story.
    """
    generator = np.random.default_rng(_HELD_OUT_SEED)
    return tuple(StoryTeller(generator).event() for _ in range(n_stories))


@cache
def _held_out_sentences() -> frozenset[str]:
    return frozenset(s for story in held_out_stories() for s in story)


@cache
def training_story(index: int, *, spoken: bool) -> tuple[str, ...]:
    """Training story number ``index``.

    Args:
        index: number of the story; the same number gives the same story.
        spoken: leave out the facts that are never spoken.

    Returns:
        Its sentences; none is a sentence of a held-out story.
    """
    banned = _held_out_sentences()
    teller = StoryTeller(np.random.default_rng([_TRAINING_SEED, int(spoken), index]))
    story = teller.story(spoken=spoken)
    while banned & set(story):
        story = teller.story(spoken=spoken)
    return story


def fit_centroids(
    n_stories: int = 400, *, frame_rate_hz: float = 25.0
) -> Float[Tensor, "n_units 39"]:
    """Cluster the frames of spoken training stories.

    Args:
        n_stories: how many stories to cluster (about 180 frames each at 25 Hz).
        frame_rate_hz: frames per second, as in `mfcc_features`.

    Returns:
        The cluster centres, float32.
    """
    from sklearn.cluster import KMeans

    synthesizer = EspeakSynthesizer()
    generator = np.random.default_rng(_CLUSTER_SEED)
    frames = []
    for index in range(n_stories):
        voice = draw_voice(generator, TRAINING_VOICES)
        story = training_story(index, spoken=True)
        clip = speak_sentences(synthesizer, story, voice, MfccKMeans.sample_rate_hz)
        frames.append(mfcc_features(clip.waveform, frame_rate_hz=frame_rate_hz).numpy())
    # The stubs of scikit-learn know n_init as a string only.
    kmeans = KMeans(N_UNITS, n_init=2, random_state=_CLUSTER_SEED)  # pyright: ignore[reportArgumentType]
    kmeans.fit(np.concatenate(frames))
    return torch.from_numpy(kmeans.cluster_centers_).float()


def build_corpus(
    path: Path, tokenizer: MfccKMeans, n_stories: int, *, n_workers: int
) -> list[SpokenStory]:
    """Speak the first ``n_stories`` training stories, or read them if ``path`` has them.

    Args:
        path: the ``.npz`` to read or write.
        tokenizer: turns the clips into units, at its own frame rate.
        n_stories: how many stories.
        n_workers: processes that speak.

    Returns:
        The stories in order of their number.

    Raises:
        ValueError: ``path`` holds another number of stories, other units or another frame rate.
    """  # noqa: DOC502 (raised by the reader)
    if path.exists():
        return _read(path, tokenizer, n_stories)
    context = multiprocessing.get_context("spawn")
    stories: list[SpokenStory] = []
    with (
        ProcessPoolExecutor(
            n_workers, context, _start, (tokenizer.centroids, tokenizer.frame_rate_hz)
        ) as pool,
        Progress() as progress,
    ):
        task = progress.add_task("speaking", total=n_stories)
        for story in pool.map(_spoken_training_story, range(n_stories), chunksize=50):
            stories.append(story)
            progress.advance(task)
    _write(path, tokenizer, stories)
    return stories


_worker: dict[str, object] = {}


def _start(centroids: Tensor, frame_rate_hz: float) -> None:
    torch.set_num_threads(1)
    _worker["synthesizer"] = EspeakSynthesizer()
    _worker["tokenizer"] = MfccKMeans(centroids, frame_rate_hz=frame_rate_hz)


def _spoken_training_story(index: int) -> SpokenStory:
    synthesizer, tokenizer = _worker["synthesizer"], _worker["tokenizer"]
    assert isinstance(synthesizer, EspeakSynthesizer)
    assert isinstance(tokenizer, MfccKMeans)
    voice = draw_voice(np.random.default_rng([_TRAINING_SEED, 7, index]), TRAINING_VOICES)
    story = training_story(index, spoken=True)
    clip = speak_sentences(synthesizer, story, voice, tokenizer.sample_rate_hz)
    return to_spoken_story(clip, tokenizer)


def to_spoken_story(clip: SpokenText, tokenizer: MfccKMeans) -> SpokenStory:
    """Units and word spans of a clip.

    Args:
        clip: a clip at the tokenizer's sample rate.
        tokenizer: turns the clip into units.

    Returns:
        The story as the model reads it.
    """
    units = tokenizer.encode(clip.waveform)
    spans = word_unit_spans(units.ends_s.tolist(), clip.alignment)
    words = tuple(w.word for w in clip.alignment)
    return SpokenStory(words, units.ids.numpy().astype(np.int16), spans)


def _write(path: Path, tokenizer: MfccKMeans, stories: list[SpokenStory]) -> None:
    arrays = {
        "centroids": tokenizer.centroids.numpy(),
        "frame_rate_hz": np.array(tokenizer.frame_rate_hz),
        "words": np.array([" ".join(s.words) for s in stories]),
        "units": np.concatenate([s.units for s in stories]),
        "n_units": np.array([len(s.units) for s in stories]),
        "spans": np.concatenate([np.array(s.spans, dtype=np.int32) for s in stories]),
    }
    write_atomically(path, lambda part: np.savez_compressed(part, **arrays))


def _read(path: Path, tokenizer: MfccKMeans, n_stories: int) -> list[SpokenStory]:
    with np.load(path) as stored:
        same_units = np.array_equal(stored["centroids"], tokenizer.centroids.numpy())
        # A corpus that names no frame rate is from when there was one.
        rate_hz = float(stored.get("frame_rate_hz", MfccKMeans.frame_rate_hz))
        if rate_hz != tokenizer.frame_rate_hz:
            raise ValueError(
                f"build_corpus: {path} holds units at {rate_hz:g} Hz, expected "
                f"{tokenizer.frame_rate_hz:g} Hz. Give another path, or delete the file."
            )
        if len(stored["words"]) != n_stories or not same_units:
            raise ValueError(
                f"build_corpus: {path} holds {len(stored['words'])} stories"
                f"{'' if same_units else ' made with other centroids'}, expected {n_stories} made "
                "with these centroids. Delete the file to speak it again."
            )
        return list(_split(stored["words"], stored["units"], stored["n_units"], stored["spans"]))


def _split(
    words: np.ndarray, units: np.ndarray, n_units: np.ndarray, spans: np.ndarray
) -> Iterator[SpokenStory]:
    first_unit = first_word = 0
    for text, n in zip(words.tolist(), n_units.tolist(), strict=True):
        split = tuple(text.split(" "))
        rows = spans[first_word : first_word + len(split)]
        yield SpokenStory(
            split, units[first_unit : first_unit + n], tuple(map(tuple, rows.tolist()))
        )
        first_unit, first_word = first_unit + n, first_word + len(split)
