"""How words sound, as phonemes, and how far two of them are apart.

espeak-ng writes a word in the International Phonetic Alphabet by its rules and its dictionary of
exceptions. Stress is left out: a word and a token that differ in stress alone sound alike.
"""

import ctypes
import re
from collections.abc import Iterable, Sequence

from slm_lens.speech._espeak import choose_voice, started

_UTF8, _IPA, _SEPARATOR = 1, 0x02, "_"
_NOT_SOUND = re.compile(r"\([^)]*\)|[ˈˌ]")
"""Changes of language, such as ``(fr)``, and stress."""


def phonemes(words: Iterable[str], *, voice: str = "en-us") -> dict[str, tuple[str, ...]]:
    """The phonemes of words, each spoken by itself.

    ::

        phonemes(["night", "knight"])["knight"]  # ('n', 'aɪ', 't')

    Args:
        words: any number; spaces around a word are ignored. One that espeak-ng cannot read as a
            word is spelled by it, letter by letter.
        voice: espeak-ng voice, whose language's rules are applied.

    Returns:
        For each word its phonemes in IPA, without stress; none where nothing is spoken, as for
        a comma.

    Raises:
        ImportError: there is no espeak-ng.
        ValueError: espeak-ng does not know the voice.

    Source:
        espeak-ng's ``espeak_TextToPhonemes``.
    """  # noqa: DOC502 (raised by started and choose_voice)
    asked = list(dict.fromkeys(words))
    with started("phonemes") as (library, _):
        choose_voice(library, voice, "phonemes")
        return {word: _phonemes(library, word) for word in asked}


def phoneme_distance(a: Sequence[str], b: Sequence[str]) -> float:
    """Edits from one row of phonemes (or letters) to another, over the length of the longer one.

    Args:
        a: phonemes.
        b: phonemes; at least one of both rows is not empty.

    Returns:
        Fewest insertions, deletions and substitutions, over the longer length: 0 for equal rows,
        1 where nothing is shared.

    Raises:
        ValueError: both rows are empty.

    Source:
        Levenshtein 1966; normalised by the longer length.
    """
    if not a and not b:
        raise ValueError(
            "phoneme_distance: got two rows of no phonemes, expected at least one phoneme. Were "
            "the words read as words? `phonemes` gives none for punctuation."
        )
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1] / max(len(a), len(b))


def _phonemes(library: ctypes.CDLL, word: str) -> tuple[str, ...]:
    to_phonemes = library.espeak_TextToPhonemes
    to_phonemes.restype = ctypes.c_char_p
    to_phonemes.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int]
    rest = ctypes.c_char_p(word.strip().replace("\0", " ").encode("utf-8", "replace"))
    mode = _IPA | ord(_SEPARATOR) << 8
    said: list[str] = []
    while rest.value is not None:  # a clause at a time
        clause = to_phonemes(ctypes.byref(rest), _UTF8, mode) or b""
        said += re.split(rf"[{_SEPARATOR}\s]+", clause.decode())
    return tuple(p for p in (_NOT_SOUND.sub("", s) for s in said) if p)
