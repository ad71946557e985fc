"""Data that stream: what there is, cheaply; then one item at a time, when it is asked for.

A data set knows nothing of models. Its keys are listed without opening sound; the words of an item
are read without decoding it; and an item that cannot be read is an error of that item, never of
the data set.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from slm_lens.corpus.items import AnyItem, Holds
from slm_lens.errors import SlmLensError
from slm_lens.speech.alignment_files import Missing, Overlap

ITEM_ERRORS = (
    SlmLensError,
    ValueError,  # bad UTF-8 and bad Parquet are some
    LookupError,
    OSError,
    ArithmeticError,
    RecursionError,
    EOFError,
    NotImplementedError,  # pyarrow, of a codec or type that it lacks
)
"""What reading one item may raise; anything else is a mistake of ours and stops the run."""


@dataclass(frozen=True)
class ItemKey:
    """What is known of an item before it is read.

    Attributes:
        name: under which its words appear in tables.
        place: where it is in the data set, for people: ``clip.flac``, ``features.jsonl:17``.
        number: what the data set finds it by: a byte offset, a row.
        size_bytes: how large it is, as far as that is known without reading it.
    """

    name: str
    place: str
    number: int
    size_bytes: int


@dataclass(frozen=True)
class Limits:
    """How much one item may ask for. What asks for more is refused before it is read.

    Attributes:
        max_clip_s: seconds of sound, as its header states them.
        max_clip_bytes: bytes of a sound file.
        max_row_bytes: bytes of a line of JSON, of an alignment file, or of the values of a row.
        max_words: words of an item.
        max_group_bytes: bytes of a column in a row group of Parquet, as its metadata state them.

    Raises:
        ValueError: a limit is not positive.
    """

    max_clip_s: float = 120.0
    max_clip_bytes: int = 64 << 20
    max_row_bytes: int = 16 << 20
    max_words: int = 10_000
    max_group_bytes: int = 1 << 30

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"Limits: got {name}={value}, expected a positive number.")

    def check(self, what: str, value: float | int, limit: str) -> None:
        """Refuse what passes a limit.

        Args:
            what: what has the value, for the message.
            value: the value.
            limit: name of the limit.

        Raises:
            ValueError: it is larger.
        """
        if value > getattr(self, limit):
            raise ValueError(
                f"{what} has {value:g}, expected at most {limit}={getattr(self, limit):g}. Split "
                "it, or raise the limit if it is what it should be."
            )


@dataclass(frozen=True)
class ReadOptions:
    """How items are read.

    Attributes:
        limits: how much one item may ask for.
        overlap: what to do with words that overlap in time; see `read_alignment`.
        missing: what to do with words without times; see `read_alignment`.
    """

    limits: Limits = Limits()
    overlap: Overlap = "refuse"
    missing: Missing = "refuse"


@runtime_checkable
class Dataset(Protocol):
    """Items that can be listed, and read one at a time from several threads.

    Attributes:
        holds: what its items are: "clips" (`Item`), "trials" (`TrialItem`), "pairs" (`PairItem`).
        has_sound: whether items have sound, for which a unit tokenizer is needed.
        has_words: whether items have words with times.
    """

    holds: Holds
    has_sound: bool
    has_words: bool

    def item_keys(self) -> Iterator[ItemKey]:
        """All items, in an order that is the same every time; nothing is decoded."""
        ...

    def words(self, key: ItemKey) -> tuple[str, ...]:
        """Words of an item of clips, without its sound; raises what `read` raises."""
        ...

    def read(self, key: ItemKey, *, sample_rate_hz: int | None) -> AnyItem:
        """An item, with sound at this rate; raises one of `ITEM_ERRORS` if it cannot be read."""
        ...


def inside(root: Path, given: str, *, of: str = "data", what: str = "a file") -> Path:
    """A path that data name, which has to lie in the data's root.

    Args:
        root: folder of the data.
        given: path from there, as the data have it.
        of: what has the folder, for messages.
        what: what is expected there, for messages.

    Returns:
        The file, with links followed.

    Raises:
        ValueError: it leaves the root, by ``..``, as an absolute path or by a link; its links go
            in a circle; or it holds what no path can.
        LookupError: there is no such file.
    """
    top = root.resolve()
    try:
        path = (top / given).resolve() if "\0" not in given else None
    except RuntimeError:  # Python's word for a link that leads to itself
        path = None
    if path is None or not path.is_relative_to(top):
        raise ValueError(
            f"got the path {given[:200]!r}, which leaves the {of}'s folder, expected one inside "
            "it. Put the file there: links out of the folder are not followed."
        )
    if not path.is_file():
        raise LookupError(f"got {given[:200]!r}, expected {what} in the {of}'s folder.")
    return path


def check_words(words: Sequence[object], limits: Limits) -> None:
    """Refuse an item of too many words, or of words that no table can hold.

    Args:
        words: its words; what is no text is not looked at.
        limits: how many there may be.

    Raises:
        ValueError: there are more, or one has half a character (a lone surrogate).
    """
    limits.check("the number of words", len(words), "max_words")
    halves = [w for w in words if isinstance(w, str) and printable(w) != w]
    if halves:
        raise ValueError(
            f"got the word {printable(halves[0])!r}, which holds half a character, expected "
            "Unicode text. In which encoding was it written?"
        )


def printable(text: str) -> str:
    """A text that UTF-8 can hold: what is none is written out.

    Args:
        text: a file name, or text of JSON.

    Returns:
        The same text, half characters (lone surrogates) written as Python writes them.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
