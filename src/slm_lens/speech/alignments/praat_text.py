"""Tiers of a TextGrid in Praat's long or short text format, in one pass over the text.

Praat reads the numbers, the texts in quotes and the flags that stand free, in their order, and
nothing else: the long format is the short one with remarks. So one reader does for both, and its
time grows with the text alone.

Source: Praat's manual, "TextGrid file formats".
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

INTERVAL_TIER = "IntervalTier"
_POINT_TIER = "TextTier"

# A remark up to the end of the line; a text in which quotes are doubled; a quote that nothing
# closes; anything else. What was matched is never given back (*+), or a text without an end would
# be looked for from every quote.
_TOKEN = re.compile(
    r'![^\n]*|"(?P<text>[^"]*+(?:""[^"]*+)*+)"|(?P<open>")|(?P<word>[^\s"=]+)', re.ASCII
)
_NUMBER = re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?", re.ASCII)
_FLAGS = {"<exists>": True, "<absent>": False}


@dataclass(frozen=True)
class PraatTier:
    """One tier.

    Attributes:
        kind: `INTERVAL_TIER`, or another one that holds no words.
        name: its name.
        end_s: end in seconds.
        entries: start and end in seconds, and label, of each interval; none of other kinds.
    """

    kind: str
    name: str
    end_s: float
    entries: tuple[tuple[float, float, str], ...]


def read_tiers(text: str) -> tuple[float, list[PraatTier]]:
    """Tiers of a TextGrid.

    Args:
        text: the file's text.

    Returns:
        Where the clip starts, in seconds, and the tiers.

    Raises:
        ValueError: it is something else, or ends within an entry.
    """
    tokens = _Tokens(text)
    tokens.text("the file's type")
    if (made := tokens.text("the class of the object")) != "TextGrid":
        raise ValueError(f"the class of the object is {made[:40]!r}, not 'TextGrid'")
    start_s = tokens.number("the start of the clip")
    tokens.number("the end of the clip")
    if not tokens.flag("whether there are tiers"):
        return start_s, []
    tokens.number("the number of tiers")
    tiers = []
    while tokens.next is not None:
        kind, name = tokens.text("the class of a tier"), tokens.text("the name of a tier")
        if kind not in (INTERVAL_TIER, _POINT_TIER):
            raise ValueError(f"the class of a tier is {kind[:40]!r}")
        tokens.number("the start of a tier")
        end_s = tokens.number("the end of a tier")
        tokens.number("the number of entries")
        tiers.append(PraatTier(kind, name, end_s, tuple(_entries(tokens, kind))))
    return start_s, tiers


def _entries(tokens: "_Tokens", kind: str) -> Iterator[tuple[float, float, str]]:
    """Entries up to the next tier, however many it states: the caller sees what is cut off."""
    while isinstance(tokens.next, float):
        start_s = tokens.number("a time")
        if kind == INTERVAL_TIER:
            end_s = tokens.number("the end of an interval")
            yield start_s, end_s, tokens.text("a label").strip()
        else:
            tokens.text("a label")


class _Tokens:
    """Texts, numbers and flags that stand free, one after the other; None at the end."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._found = _TOKEN.finditer(text)
        self._at = 0
        self.next = self._read()

    def text(self, what: str) -> str:
        if not isinstance(self.next, str):
            raise self._another(what)
        taken, self.next = self.next, self._read()
        return taken

    def number(self, what: str) -> float:
        if not isinstance(self.next, float):
            raise self._another(what)
        taken, self.next = self.next, self._read()
        return taken

    def flag(self, what: str) -> bool:
        if not isinstance(self.next, bool):
            raise self._another(what)
        taken, self.next = self.next, self._read()
        return taken

    def _another(self, what: str) -> ValueError:
        """Where something else stands than what is to be read."""
        line = self._text.count("\n", 0, self._at) + 1
        stands = "the end" if self.next is None else repr(self.next)[:40]
        return ValueError(f"line {line}: {stands} stands where {what} should")

    def _read(self) -> str | float | bool | None:
        for found in self._found:
            self._at = found.start()
            if found["text"] is not None:
                return found["text"].replace('""', '"')
            if found["open"]:
                line = self._text.count("\n", 0, self._at) + 1
                raise ValueError(f"line {line}: a text has no closing quote")
            word = found["word"] or ""  # of a remark there is none
            if _NUMBER.fullmatch(word):
                return float(word)
            if word in _FLAGS:
                return _FLAGS[word]
        self._at = len(self._text)
        return None
