"""Units that were extracted before, as slamkit writes them: a line of JSON for each clip.

``{"units": [3, 49], "duration": [2, 1], "file_name": "clip.flac"}``, and the words as
``aligned_text`` (``[[word, start, end], ...]``, seconds) in the same line, or in a second file of
such lines, or in a folder with ``clip.json`` of each.

Source: slamkit, ``cli/extract_features.py`` and ``utils/data_prep.py``.
"""

import json
from collections.abc import Iterator
from math import inf
from pathlib import Path
from threading import Lock
from typing import Any

from slm_lens.corpus._timings import alignment_of_row, units_of_row
from slm_lens.corpus.dataset import ITEM_ERRORS, ItemKey, ReadOptions, inside, printable
from slm_lens.corpus.items import Holds, Item
from slm_lens.errors import AlignmentError
from slm_lens.speech.alignment import Alignment


class JsonlUnits:
    """Lines of units, with their words.

    Args:
        path: the file of units.
        options: how items are read.
        frame_rate_hz: frames in a second; ``duration`` counts them.
        metadata: file of lines, or folder of ``.json`` files, with ``aligned_text`` by
            ``file_name``; None if the lines of units have it.

    Raises:
        LookupError: there is no such file.
        ValueError: the frame rate is not positive.
    """

    holds: Holds = "clips"
    has_sound = False
    has_words = True

    def __init__(
        self,
        path: str | Path,
        options: ReadOptions,
        *,
        frame_rate_hz: float,
        metadata: str | Path | None = None,
    ) -> None:
        self._path = Path(path)
        self._metadata = None if metadata is None else Path(metadata)
        if not self._path.is_file() or not (self._metadata is None or self._metadata.exists()):
            raise LookupError(
                f"JsonlUnits: no file at {str(self._path)!r}, or no metadata at "
                f"{str(self._metadata)!r}; expected lines of units, and their words."
            )
        if not 0 < frame_rate_hz < inf:
            raise ValueError(
                f"JsonlUnits: got frame_rate_hz={frame_rate_hz}, expected the frames in a second "
                "that `duration` counts."
            )
        self._options, self._frame_rate_hz = options, frame_rate_hz
        self._lock = Lock()
        self._words_at: dict[str, int] | None = None

    def item_keys(self) -> Iterator[ItemKey]:
        """Every line that is not blank.

        Yields:
            Keys named by the stem of ``file_name``; a line without it by file and line.
        """
        for line, (offset, size, name) in enumerate(self._lines(self._path), start=1):
            if size:
                place = f"{self._path.name}:{line}"
                yield ItemKey(name or place, place, offset, size)

    def words(self, key: ItemKey) -> tuple[str, ...]:
        """Words of one line.

        Args:
            key: which line.

        Returns:
            The words.
        """
        return tuple(w.word for w in self._alignment(key, self._row(self._path, key.number), None))

    def read(self, key: ItemKey, *, sample_rate_hz: int | None) -> Item:  # noqa: ARG002 (no sound)
        """Units and words of one line.

        Args:
            key: which line.
            sample_rate_hz: not used.

        Returns:
            The item.
        """
        row = self._row(self._path, key.number)
        units = units_of_row(
            row.get("units"),
            row.get("duration"),
            self._frame_rate_hz,
            key.place,
            self._options.limits,
        )
        return Item(units=units, alignment=self._alignment(key, row, units.duration_s))

    def _alignment(
        self, key: ItemKey, row: dict[str, Any], clip_duration_s: float | None
    ) -> Alignment:
        """The words of a line, from wherever they are.

        Raises:
            AlignmentError: there are none.
        """
        timings = row.get("aligned_text")
        if timings is None and self._metadata is not None:
            timings = self._described(key.name).get("aligned_text")
        if timings is None:
            raise AlignmentError(
                f"{key.place}: got no `aligned_text` for {key.name!r}, expected a list of [word, "
                "start, end] in the line or in the metadata. Is metadata= missing?"
            )
        return alignment_of_row(timings, key.place, self._options, clip_duration_s)

    def _described(self, name: str) -> dict[str, Any]:
        """The metadata of one clip.

        Raises:
            LookupError: there is none.
        """
        assert self._metadata is not None
        if self._metadata.is_dir():
            path = inside(self._metadata, f"{name}.json")
            limits = self._options.limits
            limits.check(f"the size of {path.name} in bytes", path.stat().st_size, "max_row_bytes")
            return _object(path.read_bytes(), path.name)
        with self._lock:
            if self._words_at is None:
                self._words_at = {n: at for at, _, n in self._lines(self._metadata) if n}
        if name not in self._words_at:
            raise LookupError(f"{self._metadata.name} has no line of {name!r}, expected one.")
        return self._row(self._metadata, self._words_at[name])

    def _lines(self, path: Path) -> Iterator[tuple[int, int, str | None]]:
        """Offset, bytes and name of every line; one that is too long is passed over unread."""
        most = self._options.limits.max_row_bytes
        with path.open("rb") as file:
            offset = 0
            while line := file.readline(most + 1):
                size = len(line)
                while not line.endswith(b"\n") and (rest := file.readline(most)):
                    size, line = size + len(rest), rest
                name = _name(line) if size <= most and line.strip() else None
                yield offset, size if size > most else len(line.strip()), name
                offset += size

    def _row(self, path: Path, offset: int) -> dict[str, Any]:
        most = self._options.limits.max_row_bytes
        with path.open("rb") as file:
            file.seek(offset)
            line = file.readline(most + 1)
        self._options.limits.check("the line's length in bytes", len(line), "max_row_bytes")
        return _object(line, path.name)


def _object(content: bytes, where: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ValueError: it is something else.
    """
    value = json.loads(content.decode("utf-8"))
    if not isinstance(value, dict):
        raise ValueError(f"{where}: got a {type(value).__name__}, expected a JSON object.")
    return value


def _name(line: bytes) -> str | None:
    """Name of a clip: its file's, without ending; None if it cannot be told."""
    try:
        name = _object(line, "").get("file_name")
    except ITEM_ERRORS:
        return None
    return (printable(Path(name).stem) or None) if isinstance(name, str) else None
