"""`VocabSpec`: how a vocabulary is divided and prompts are written, before ids are known.

Every family gives one, and a user can write one for a checkpoint that no family recognises, in
Python or in a file ``slm_lens.yaml`` beside the weights::

    streams:
      units: {pattern: "<Un{unit}>", count: 500}
    markers: {speech: <speech>, text: <text>}
    mark_text_only: true

Written forms are looked up in the text tokenizer; ids can be given instead where there is none.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from slm_lens.errors import VocabError
from slm_lens.families._spec_file import read_entries
from slm_lens.families._spec_kinds import CHAT_KINDS, SPEC_KINDS, STREAM_KINDS, check_kinds
from slm_lens.vocab import WORD_POLICIES, WordPolicy

MARKERS = ("speech", "speech_end", "text", "text_end")
FILE_NAME = "slm_lens.yaml"

# More than any embedding has rows.
MAX_IDS = 2**31

Token = str | int
"""A token: its written form in the tokenizer, or its id."""

Tokens = str | Sequence[Token]
"""Several tokens; one string is encoded by the tokenizer, special tokens included."""


@dataclass(frozen=True)
class StreamSpec:
    """Where a speech stream's units are among the token ids.

    Attributes:
        pattern: written form with ``{unit}`` for the number, as ``"<Un{unit}>"``; the tokenizer
            tells the ids.
        offset: token id of unit 0, where no tokenizer tells.
        count: number of units; needed with `offset`, checked with `pattern`.
        step: distance of the ids of neighbouring units (4 when four codebooks take turns).
        frame_rate_hz: frames of the unit tokenizer per second, if known.
        deduplicated: whether the model reads runs of one unit as one, if known.

    Raises:
        ValueError: neither `pattern` nor `offset` with `count`, or both; a pattern without
            ``{unit}``; a number out of range; a value of another kind.
    """

    pattern: str | None = None
    offset: int | None = None
    count: int | None = None
    step: int = 1
    frame_rate_hz: int | float | None = None
    deduplicated: bool | None = None

    def __post_init__(self) -> None:
        check_kinds(self, STREAM_KINDS)
        by_id = self.offset is not None and self.count is not None
        given = self.pattern is not None
        if (
            given == by_id
            or (given and self.offset is not None)
            or (self.pattern is not None and self.pattern.count("{unit}") != 1)
        ):
            raise ValueError(
                f"StreamSpec: got pattern={self.pattern!r}, offset={self.offset}, "
                f"count={self.count}; expected either a pattern with one {{unit}} in it, or "
                "offset and count."
            )
        least = {"offset": 0, "count": 1, "step": 1}
        odd = {
            name: value
            for name, n in least.items()
            if (value := getattr(self, name)) is not None
            and (type(value) is not int or not n <= value < MAX_IDS)
        }
        if odd or self.step is None:
            raise ValueError(
                f"StreamSpec: got offset={self.offset}, count={self.count}, step={self.step}; "
                f"expected offset >= 0, count >= 1 and step >= 1, whole numbers below {MAX_IDS}."
            )
        rate = self.frame_rate_hz
        if rate is not None and not 0 < rate < float("inf"):
            raise ValueError(
                f"StreamSpec: got frame_rate_hz={rate!r}, expected frames per second, more than 0."
            )

    def ids(self, stream: str, token_ids: Mapping[str, int]) -> range:
        """Token ids of the stream's units.

        Args:
            stream: name of the stream, for messages.
            token_ids: the tokenizer's tokens.

        Returns:
            Position ``u`` is the token id of unit ``u``.

        Raises:
            VocabError: units are missing, or their ids are not evenly spaced.
        """
        if self.pattern is None:
            assert self.offset is not None
            assert self.count is not None
            return range(self.offset, self.offset + self.count * self.step, self.step)
        before, after = map(re.escape, self.pattern.split("{unit}"))
        written = re.compile(f"{before}([0-9]+){after}")
        id_of = {int(m[1]): i for t, i in token_ids.items() if (m := written.fullmatch(t))}
        first = self.pattern.replace("{unit}", "0")
        if not id_of:
            raise VocabError(
                f"load: the tokenizer has no token like {first!r}, expected the units of stream "
                f"{stream!r}. Give the tokenizer that the model was trained with as "
                "text_tokenizer=."
            )
        units = [id_of[u] for u in sorted(id_of)]
        ids = range(units[0], units[0] + len(units) * self.step, self.step)
        if sorted(id_of) != list(range(len(units))) or units != list(ids):
            last = self.pattern.replace("{unit}", str(len(units) - 1))
            raise VocabError(
                f"load: the tokenizer has {len(units)} units of stream {stream!r} on ids "
                f"{min(units)} to {max(units)}, expected {first} to {last} on ids that are "
                f"{self.step} apart. Was it extended in another order than the model?"
            )
        if self.count is not None and len(units) != self.count:
            raise VocabError(
                f"load: the tokenizer has {len(units)} units of stream {stream!r}, expected "
                f"{self.count}. Is it the tokenizer that the model was trained with?"
            )
        return ids


@dataclass(frozen=True)
class ChatSpec:
    """What an instruct model reads around the user's words.

    Attributes:
        before: tokens before them.
        after: tokens after them, up to where the model answers.

    Raises:
        ValueError: one is neither a text nor a list of tokens.
    """

    before: Tokens
    after: Tokens

    def __post_init__(self) -> None:
        check_kinds(self, CHAT_KINDS)  # raises the ValueError


@dataclass(frozen=True)
class VocabSpec:
    """A vocabulary's division and prompt format, in written forms or ids.

    Attributes:
        streams: speech streams by name, one of them ``"units"``. Their order is the order of
            tokens that start at the same time.
        markers: tokens around a run of one modality: ``speech``, ``speech_end``, ``text``,
            ``text_end``, as far as there are any.
        specials: further control tokens: their written forms, or a map to ids where no tokenizer
            names them. Those that the tokenizer calls special are found by themselves.
        has_text: whether the vocabulary has text at all; False for a unit-only model.
        before: tokens before every prompt; None for what the tokenizer puts there by itself.
        after: tokens after a whole utterance.
        mark_speech_only: whether a prompt of speech alone has markers.
        mark_text_only: whether a prompt of text alone has markers.
        repeat_marker: whether a prompt that is to go on in its own modality gets its marker anew.
        leading_space: whether the first word of a run of text has a space before it.
        chat: by modality of the user's turn; empty for a model that knows no turns.
        base_rows: rows that the text model's embedding had, padding included; speech tokens below
            it took over rows that were there. None if unknown; the embedding's own number of rows
            where the text model had more.
        word_policy: which tokens count as a word, if nothing else is asked for.
        family: name of the family that it describes, for the provenance; None for "described".
            `convert_checkpoint` writes it, so that a converted model keeps its family's name.

    Raises:
        ValueError: there is no stream ``"units"``; an unknown marker, modality or policy; a
            modality that is to be marked has no marker; a value of another kind.
    """

    streams: Mapping[str, StreamSpec]
    markers: Mapping[str, Token] = field(default_factory=dict)
    specials: Mapping[str, int] | Sequence[str] = ()
    has_text: bool = True
    before: Tokens | None = None
    after: Tokens = ()
    mark_speech_only: bool = False
    mark_text_only: bool = False
    repeat_marker: bool = False
    leading_space: bool = True
    chat: Mapping[str, ChatSpec] = field(default_factory=dict)
    base_rows: int | None = None
    word_policy: WordPolicy = "whole_word"
    family: str | None = None

    def __post_init__(self) -> None:
        for name, (kind, example) in PARTS.items():
            given = getattr(self, name)
            if not isinstance(given, Mapping) or not all(
                isinstance(n, str) and isinstance(part, kind) for n, part in given.items()
            ):
                raise ValueError(
                    f"VocabSpec: got {name}={given!r}, expected each a {kind.__name__} by name. "
                    f"Write {name}={example}."
                )
        check_kinds(self, SPEC_KINDS)
        if "units" not in self.streams:
            raise ValueError(
                f"VocabSpec: got streams {sorted(self.streams)}, expected one named 'units'. Name "
                "the phonetic one so."
            )
        for what, given, known in (
            ("markers", self.markers, MARKERS),
            ("chat", self.chat, ("speech", "text")),
            ("word_policy", [self.word_policy], WORD_POLICIES),
        ):
            unknown = sorted(set(given) - set(known))
            if unknown:
                raise ValueError(f"VocabSpec: got {what} {unknown}, expected some of {known}.")
        for modality in ("speech", "text"):
            if getattr(self, f"mark_{modality}_only") and modality not in self.markers:
                raise ValueError(
                    f"VocabSpec: got mark_{modality}_only=True and markers {sorted(self.markers)}, "
                    f"expected one named {modality!r} among them. Name it, or leave "
                    f"mark_{modality}_only out."
                )

    def write(self, path: Path) -> None:
        """Write the description as YAML.

        Args:
            path: the file; `FILE_NAME` beside the weights is found by `load`.
        """
        entries = _set_entries(self)
        entries["streams"] = {name: _set_entries(s) for name, s in self.streams.items()}
        if self.chat:
            entries["chat"] = {modality: _set_entries(t) for modality, t in self.chat.items()}
        path.write_text(
            yaml.safe_dump(_plain(entries), sort_keys=False, allow_unicode=True), encoding="utf-8"
        )


PARTS: dict[str, tuple[type, str]] = {
    "streams": (StreamSpec, '{"units": StreamSpec(pattern="<Un{unit}>")}'),
    "chat": (ChatSpec, '{"speech": ChatSpec(before="<user>", after="<bot>")}'),
}


def read_vocab_spec(path: str | Path) -> VocabSpec:
    """Read a description from YAML.

    Args:
        path: the file; its keys are the attributes of `VocabSpec`.

    Returns:
        The description.

    Raises:
        ValueError: there is no such file, or it is not YAML, or has unknown, repeated or
            unsuitable entries.
    """
    if not Path(path).is_file():
        raise ValueError(
            f"read_vocab_spec: got {str(path)!r}, which is no file; expected a YAML file with a "
            f"description of a vocabulary. Beside weights it is called {FILE_NAME}."
        )
    try:
        entries = read_entries(Path(path))
        for name, (kind, _) in PARTS.items():
            if name in entries:
                entries[name] = {n: kind(**part) for n, part in entries[name].items()}
        return VocabSpec(**entries)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"read_vocab_spec: {path} is no description of a vocabulary ({error}), expected YAML "
            f"with the entries {[f.name for f in fields(VocabSpec)]}. See docs/families.md."
        ) from error


def _set_entries(described: VocabSpec | StreamSpec | ChatSpec) -> dict[str, Any]:
    """Attributes that are not at their default; ``before=()`` is not, whose default is None."""
    entries = {}
    for f in fields(described):
        default = f.default if f.default_factory is MISSING else f.default_factory()
        if (value := getattr(described, f.name)) != default:
            entries[f.name] = value
    return entries


def _plain(value: Any) -> Any:
    """Tuples as lists, which YAML has."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
