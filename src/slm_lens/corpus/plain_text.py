"""Plain text as a data set: a line is an item."""

from collections.abc import Iterator
from pathlib import Path

from slm_lens.corpus.dataset import ItemKey, ReadOptions
from slm_lens.corpus.items import Holds, Item


class PlainText:
    """Lines of a UTF-8 file that are not blank.

    Args:
        path: the file.
        options: how items are read.

    Raises:
        LookupError: there is no such file.
    """

    holds: Holds = "clips"
    has_sound = False
    has_words = False

    def __init__(self, path: str | Path, options: ReadOptions) -> None:
        self._path, self._options = Path(path), options
        if not self._path.is_file():
            raise LookupError(f"PlainText: no file at {str(self._path)!r}, expected lines of text.")

    def item_keys(self) -> Iterator[ItemKey]:
        """Every line that is not blank.

        Yields:
            Keys named by file and line.
        """
        most = self._options.limits.max_row_bytes
        with self._path.open("rb") as file:
            offset, number = 0, 0
            while line := file.readline(most + 1):
                number, size = number + 1, len(line)
                blank = not line.strip()
                while not line.endswith(b"\n") and (line := file.readline(most)):
                    size += len(line)
                if not blank:
                    place = f"{self._path.name}:{number}"
                    yield ItemKey(place, place, offset, size)
                offset += size

    def words(self, key: ItemKey) -> tuple[str, ...]:
        """Words of one line.

        Args:
            key: which line.

        Returns:
            The words.
        """
        return tuple((self.read(key, sample_rate_hz=None).text or "").split())

    def read(self, key: ItemKey, *, sample_rate_hz: int | None) -> Item:  # noqa: ARG002 (no sound)
        """One line.

        Args:
            key: which line.
            sample_rate_hz: not used.

        Returns:
            Its text.
        """
        limits = self._options.limits
        with self._path.open("rb") as file:
            file.seek(key.number)
            line = file.readline(limits.max_row_bytes + 1)
        limits.check("the line's length in bytes", len(line), "max_row_bytes")
        text = line.decode("utf-8").strip()
        limits.check("the number of words", len(text.split()), "max_words")
        return Item(text=text)
