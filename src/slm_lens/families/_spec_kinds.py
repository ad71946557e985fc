"""What the entries of a description may be, in Python and in YAML, and what to write instead."""

from collections.abc import Callable, Mapping, Sequence


def is_token(value: object) -> bool:
    """Whether it is a written form or an id."""
    return isinstance(value, str) or type(value) is int


def are_tokens(value: object) -> bool:
    """Whether it is a text, or a list of written forms and ids."""
    return isinstance(value, str) or (isinstance(value, Sequence) and all(map(is_token, value)))


def map_of(is_kind: Callable[[object], bool]) -> Callable[[object], bool]:
    """A check that something maps names to values of a kind."""
    return lambda value: (
        isinstance(value, Mapping)
        and all(isinstance(k, str) and is_kind(v) for k, v in value.items())
    )


def is_switch(value: object) -> bool:
    """Whether it is a bool, and not a word that says so."""
    return isinstance(value, bool)


def _are_specials(value: object) -> bool:
    listed = isinstance(value, Sequence) and not isinstance(value, str) and are_tokens(value)
    return listed or map_of(is_token)(value)


def _or_none(is_kind: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or is_kind(value)


SWITCH = (is_switch, "True or False (in YAML true or false, without quotes)")
TOKENS = 'a text, or a list of tokens, as ["<s>", 3]'

STREAM_KINDS: dict[str, tuple[Callable[[object], bool], str]] = {
    "pattern": (_or_none(lambda v: isinstance(v, str)), 'a text as "<Un{unit}>"'),
    "frame_rate_hz": (
        _or_none(lambda v: type(v) is int or isinstance(v, float)),
        "a number as 25 (without quotes)",
    ),
    "deduplicated": (_or_none(is_switch), f"{SWITCH[1]}, or None if unknown"),
}
CHAT_KINDS = {"before": (are_tokens, TOKENS), "after": (are_tokens, TOKENS)}
SPEC_KINDS: dict[str, tuple[Callable[[object], bool], str]] = {
    "markers": (map_of(is_token), 'tokens by name, as {"speech": "<speech>"}'),
    "specials": (_are_specials, 'a list of tokens as ["<pad>"], or ids by name'),
    "has_text": SWITCH,
    "before": (_or_none(are_tokens), f"{TOKENS}, or None"),
    "after": (are_tokens, TOKENS),
    "mark_speech_only": SWITCH,
    "mark_text_only": SWITCH,
    "repeat_marker": SWITCH,
    "leading_space": SWITCH,
    "base_rows": (_or_none(lambda v: type(v) is int and v >= 0), "a number of rows, 0 or more"),
    "word_policy": (lambda v: isinstance(v, str), 'a name as "whole_word"'),
    "family": (_or_none(lambda v: isinstance(v, str)), 'a name as "sims"'),
}


def check_kinds(
    described: object, kinds: Mapping[str, tuple[Callable[[object], bool], str]]
) -> None:
    """Refuse attributes of another kind.

    Raises:
        ValueError: one is of another kind.
    """
    for name, (is_kind, wanted) in kinds.items():
        value = getattr(described, name)
        if not is_kind(value):
            raise ValueError(
                f"{type(described).__name__}: got {name}={value!r}, expected {wanted}."
            )
