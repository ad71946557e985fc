"""A folder of sound files, each beside its word times, as a data set."""

from collections.abc import Iterator
from pathlib import Path

from slm_lens.corpus.dataset import ItemKey, ReadOptions, check_words, inside, printable
from slm_lens.corpus.folder import alignment_beside, sounds_of
from slm_lens.corpus.items import Holds, Item
from slm_lens.speech.alignment_files import read_alignment
from slm_lens.speech.audio import read_audio


class ClipFolder:
    """Clips of a folder: ``clip.flac`` beside ``clip.TextGrid``.

    Args:
        folder: as in `slm_lens.clips_of`.
        options: how items are read.

    Raises:
        LookupError: there is no such folder, or it has no sound files.
    """

    holds: Holds = "clips"
    has_sound = True
    has_words = True

    def __init__(self, folder: str | Path, options: ReadOptions) -> None:
        self._sounds = sounds_of(folder)
        self._root = self._sounds[0].parent
        self._options = options

    def item_keys(self) -> Iterator[ItemKey]:
        """Every sound file, sorted by name.

        Yields:
            Keys named by the file's stem.
        """
        for number, sound in enumerate(self._sounds):
            size = sound.stat().st_size if sound.is_file() else 0
            yield ItemKey(printable(sound.stem), printable(sound.name), number, size)

    def words(self, key: ItemKey) -> tuple[str, ...]:
        """Words of the alignment file.

        Args:
            key: which clip.

        Returns:
            The words.
        """
        beside = self._beside(key)
        options = self._options
        read = read_alignment(beside, overlap=options.overlap, missing=options.missing)
        words = tuple(w.word for w in read)
        check_words(words, options.limits)
        return words

    def read(self, key: ItemKey, *, sample_rate_hz: int | None) -> Item:
        """Sound and words of one clip.

        Args:
            key: which clip.
            sample_rate_hz: rate of the samples.

        Returns:
            The clip.

        Raises:
            ValueError: no rate is given.
        """
        if sample_rate_hz is None:
            raise ValueError("ClipFolder: got no sample rate, expected that of a unit tokenizer.")
        sound, beside = inside(self._root, self._sounds[key.number].name), self._beside(key)
        return read_clip(sound, beside, self._options, sample_rate_hz=sample_rate_hz)

    def _beside(self, key: ItemKey) -> Path:
        path = alignment_beside(self._sounds[key.number], "run_corpus")
        beside = inside(self._root, path.name)
        limits = self._options.limits
        limits.check(f"the size of {path.name} in bytes", beside.stat().st_size, "max_row_bytes")
        return path


def read_clip(sound: Path, beside: Path, options: ReadOptions, *, sample_rate_hz: int) -> Item:
    """Sound and words of one clip, within limits.

    Args:
        sound: the sound file.
        beside: its word times, of a size that was checked.
        options: how it is read.
        sample_rate_hz: rate of the samples.

    Returns:
        The clip.
    """
    limits = options.limits
    limits.check(f"the size of {sound.name} in bytes", sound.stat().st_size, "max_clip_bytes")
    waveform = read_audio(sound, sample_rate_hz=sample_rate_hz, max_duration_s=limits.max_clip_s)
    alignment = read_alignment(
        beside,
        clip_duration_s=waveform.numel() / sample_rate_hz,
        overlap=options.overlap,
        missing=options.missing,
    )
    check_words([w.word for w in alignment], limits)
    return Item(waveform=waveform, alignment=alignment)
