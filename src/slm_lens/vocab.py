"""Who owns which row of the embedding.

A speech-text model has one softmax over several kinds of token. Every rank, mass and top-k in
this package is taken over one kind or over all of them, so the kinds must form an exact, disjoint
partition of ``range(d_vocab)``:

| kind | what | example (SIMS-7B layout) |
|---|---|---|
| ``text`` | pieces of written words | 0 ... 151642 |
| ``speech`` | units and further speech streams (pitch, style) | ``<Un0>`` ... ``<Un499>`` |
| ``marker`` | tokens around a run of one modality | ``<speech>``, ``<text>`` |
| ``special`` | control tokens | ``<|endoftext|>`` |
| ``padding`` | rows that no token uses | rows beyond ``len(tokenizer)`` |

A marker has one of four names. ``"speech"`` and ``"text"`` announce a run of that modality;
``"speech_end"`` and ``"text_end"`` end it, in families that write markers in pairs (GLM-4-Voice
``<|begin_of_audio|>`` ... ``<|end_of_audio|>``). A family may mark one modality and leave the
other bare.

Source: ours; the kinds follow Maimon et al. 2025, arXiv:2504.02398 (SIMS) and Nguyen et al. 2024,
arXiv:2402.05755 (Spirit LM, three speech streams).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from slm_lens._partition import partition
from slm_lens.errors import VocabError

TokenKind = Literal["text", "speech", "marker", "special", "padding"]
TOKEN_KINDS: tuple[TokenKind, ...] = get_args(TokenKind)

MARKER_NAMES = ("speech", "speech_end", "text", "text_end")

WordPolicy = Literal["whole_word", "first_piece", "prefixes"]
WORD_POLICIES: tuple[WordPolicy, ...] = get_args(WordPolicy)


@dataclass(frozen=True, eq=False)
class SpeechTextVocab:
    """An exact partition of the embedding's rows, and the maps between units, words and ids.

    Attributes:
        d_vocab: rows of the embedding, used or not.
        text: token ids of written text.
        streams: speech streams by name; position ``u`` of a stream is the token id of its unit
            ``u``. The stream of phonetic units is named ``"units"``. Tokens of several streams
            that start at the same time stand in the order in which the streams are listed.
        markers: token ids around runs of one modality, by name (`MARKER_NAMES`).
        specials: control tokens, by their written form.
        padding: rows that no token uses.
        recycled: rows of speech, marker or special tokens that the text model already had, as
            rows that no token used. They began from other values than the rows that were newly
            made: SIMS-7B has units 0 to 398 in such rows, and 399 to 499 in new ones.
        encode_text: written text to token ids without special tokens; None if unknown.
        labels: written form of each text token by id; empty if unknown.
        kind_of: index into `TOKEN_KINDS` for every row (derived).

    Raises:
        VocabError: kinds overlap, leave a row without a kind, or reach outside ``d_vocab``; a
            marker has another name, or ends a run that none begins; a recycled row is not of
            speech, a marker or special.

    Source:
        Ours.
    """

    d_vocab: int
    text: Sequence[int]
    streams: Mapping[str, Sequence[int]]
    markers: Mapping[str, int] = field(default_factory=dict)
    specials: Mapping[str, int] = field(default_factory=dict)
    padding: Sequence[int] = ()
    recycled: Sequence[int] = ()
    encode_text: Callable[[str], list[int]] | None = None
    labels: Mapping[int, str] = field(default_factory=dict)
    kind_of: Int[Tensor, " d_vocab"] = field(init=False, repr=False)
    _unit_of: dict[str, dict[int, int]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        owners = [
            ("text", self.text),
            *((f"speech stream {name!r}", ids) for name, ids in self.streams.items()),
            ("marker", self.markers.values()),
            ("special", self.specials.values()),
            ("padding", self.padding),
        ]
        kinds = ["text", *["speech"] * len(self.streams), "marker", "special", "padding"]
        kind_of = partition(self.d_vocab, owners, [TOKEN_KINDS.index(k) for k in kinds])
        object.__setattr__(self, "kind_of", kind_of)
        self._check_markers()
        self._check_recycled()
        unit_of = {s: {t: u for u, t in enumerate(ids)} for s, ids in self.streams.items()}
        object.__setattr__(self, "_unit_of", unit_of)

    def _check_markers(self) -> None:
        unknown = [name for name in self.markers if name not in MARKER_NAMES]
        alone = [n for n in self.markers if n.removesuffix("_end") not in self.markers]
        if unknown or alone:
            raise VocabError(
                f"SpeechTextVocab: got markers {list(self.markers)}, expected names out of "
                f"{MARKER_NAMES}, and an end only with its beginning. List other control tokens "
                "as `specials`."
            )

    def _check_recycled(self) -> None:
        rows = self.mask("speech", "marker", "special")
        others = [t for t in self.recycled if not 0 <= t < self.d_vocab or not rows[t]]
        if others:
            raise VocabError(
                f"SpeechTextVocab: recycled has ids {others[:8]}, expected only rows of speech, "
                "marker and special tokens. Which rows did the text model have, and not use?"
            )

    def mask(self, *kinds: TokenKind) -> Bool[Tensor, " d_vocab"]:
        """True for the rows of the given kinds.

        Args:
            *kinds: one or more of `TOKEN_KINDS`.

        Returns:
            One truth value for each row of the embedding.

        Raises:
            ValueError: no kind, or an unknown one, was given.
        """
        unknown = [k for k in kinds if k not in TOKEN_KINDS]
        if unknown or not kinds:
            raise ValueError(
                f"SpeechTextVocab.mask: got kinds {kinds}, expected one or more of {TOKEN_KINDS}."
            )
        wanted = torch.tensor([TOKEN_KINDS.index(k) for k in kinds])
        return torch.isin(self.kind_of, wanted)

    def require_text(self, function: str, holder: str = "this vocabulary") -> None:
        """Refuse a unit-only vocabulary where written words are needed.

        Args:
            function: the public function that needs them, to begin the message with.
            holder: whose vocabulary this is, such as `Provenance.model_and_family`.

        Raises:
            VocabError: there is no text.
        """  # noqa: DOC502 (raised by require_text)
        require_text(len(self.text), function, holder)

    def n_units(self, stream: str = "units") -> int:
        """How many units a speech stream has.

        Args:
            stream: name of the stream.

        Returns:
            Number of units.

        Raises:
            LookupError: there is no such stream.
        """  # noqa: DOC502 (raised by _stream)
        return len(self._stream(stream))

    def unit_to_token(
        self, units: Int[Tensor, "*shape"], stream: str = "units"
    ) -> Int[Tensor, "*shape"]:
        """Token ids of speech units.

        Args:
            units: unit ids in ``[0, n_units)``.
            stream: name of the speech stream.

        Returns:
            Token ids in ``[0, d_vocab)``, same shape.

        Raises:
            VocabError: a unit lies outside the stream.
        """
        ids = torch.tensor(list(self._stream(stream)), device=units.device)
        outside = units[(units < 0) | (units >= len(ids))]
        if outside.numel():
            raise VocabError(
                f"unit_to_token: got units {sorted(set(outside.tolist()))}, expected "
                f"0 <= unit < {len(ids)} for stream {stream!r}. Were the units made by this "
                "model's own unit tokenizer?"
            )
        return ids[units]

    def token_to_unit(
        self, tokens: Int[Tensor, "*shape"], stream: str = "units"
    ) -> Int[Tensor, "*shape"]:
        """Units of speech tokens; the inverse of `unit_to_token`.

        Args:
            tokens: token ids, all of this stream.
            stream: name of the speech stream.

        Returns:
            Unit ids, same shape.

        Raises:
            VocabError: a token is not of this stream.
        """
        self._stream(stream)
        table = self._unit_of[stream]
        flat = tokens.flatten().tolist()
        outside = sorted({t for t in flat if t not in table})
        if outside:
            raise VocabError(
                f"token_to_unit: got token ids {outside[:8]} that are not of stream {stream!r}, "
                "expected speech tokens only. Select them with `vocab.mask('speech')` first."
            )
        return torch.tensor([table[t] for t in flat], dtype=tokens.dtype).view_as(tokens)

    def label(self, token: int) -> str:
        """A printable name for any row; units and unused rows always have one.

        Args:
            token: token id.

        Returns:
            The token's written form; ``<Un17>`` for unit 17; ``<id 9>`` for text whose written
            form is unknown; ``<padding 9>`` for an unused row.

        Raises:
            VocabError: the id lies outside the vocabulary.
        """
        if not 0 <= token < self.d_vocab:
            raise VocabError(f"label: got token {token}, expected 0 <= token < {self.d_vocab}.")
        for stream, table in self._unit_of.items():
            if token in table:
                return f"<Un{table[token]}>" if stream == "units" else f"<{stream} {table[token]}>"
        for name, ids in (("marker", self.markers), ("special", self.specials)):
            for written, t in ids.items():
                if t == token:
                    return f"<{written}>" if name == "marker" else written
        if self.kind_of[token] == TOKEN_KINDS.index("padding"):
            return f"<padding {token}>"
        return self.labels.get(token, f"<id {token}>")

    def word_tokens(self, word: str, policy: WordPolicy) -> tuple[int, ...]:
        """Token ids that count as a given word.

        The word is written as given, in lower case and capitalised, each with and without a
        leading space.

        Args:
            word: a written word; spaces around it are ignored.
            policy: ``"whole_word"`` keeps the written forms that are one token;
                ``"first_piece"`` takes the first token of every form; ``"prefixes"`` takes every
                token that is a non-empty beginning of a form.

        Returns:
            Sorted ids; empty when no form qualifies (a word of several pieces under
            ``"whole_word"``).

        Raises:
            VocabError: the vocabulary has no text.
            ValueError: the word is empty, the policy unknown, or the vocabulary cannot encode or
                name its text.

        Source:
            ``first_piece``: first-sub-token sets as in public logit-lens code;
            ``prefixes``: Wendler et al. 2024, arXiv:2402.10588, section 3.
        """  # noqa: DOC502 (VocabError is raised by require_text)
        self.require_text("word_tokens")
        if policy not in WORD_POLICIES:
            raise ValueError(
                f"word_tokens: got policy {policy!r}, expected one of {WORD_POLICIES}."
            )
        bare = word.strip()
        if not bare:
            raise ValueError(f"word_tokens: got {word!r}, expected a word with letters.")
        forms = {space + w for w in (bare, bare.lower(), bare.capitalize()) for space in ("", " ")}
        if policy == "prefixes":
            return self._prefix_tokens(forms)
        if self.encode_text is None:
            raise ValueError(
                "word_tokens: this vocabulary cannot encode text. Give `encode_text` when it is "
                "built, e.g. from the text tokenizer that the model was trained with."
            )
        pieces = [p for p in map(self.encode_text, sorted(forms)) if p]
        if policy == "whole_word":
            pieces = [p for p in pieces if len(p) == 1]
        text = TOKEN_KINDS.index("text")
        return tuple(sorted({p[0] for p in pieces if self.kind_of[p[0]] == text}))

    def _prefix_tokens(self, forms: Iterable[str]) -> tuple[int, ...]:
        if not self.labels:
            raise ValueError(
                "word_tokens: policy 'prefixes' needs the written form of every text token. Give "
                "`labels` when the vocabulary is built."
            )
        prefixes = {f[:n] for f in forms for n in range(1, len(f) + 1)} - {" "}
        text = TOKEN_KINDS.index("text")
        return tuple(
            sorted(t for t, s in self.labels.items() if s in prefixes and self.kind_of[t] == text)
        )

    def _stream(self, stream: str) -> Sequence[int]:
        if stream not in self.streams:
            raise LookupError(
                f"got speech stream {stream!r}, expected one of {sorted(self.streams)}."
            )
        return self.streams[stream]


def require_text(n_text: int, function: str, holder: str) -> None:
    """`SpeechTextVocab.require_text`, where the vocabulary is known by its size alone.

    Args:
        n_text: text rows of the vocabulary.
        function: the public function that needs written words.
        holder: whose vocabulary it is.

    Raises:
        VocabError: there is no text.
    """
    if n_text == 0:
        raise VocabError(
            f"{function}: {holder} has no text tokens (a unit-only vocabulary), expected text to "
            "read words in. Read its units instead: sequence_from_units, residual_stack and "
            "LogitLens need no text, and vocab.mask('speech') has the rows of the units."
        )
