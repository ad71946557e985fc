"""From a description and a tokenizer to the partition of the embedding's rows."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property

import torch
from transformers import PreTrainedTokenizerFast

from slm_lens.errors import VocabError
from slm_lens.families._tokenizers import BYTE, control_tokens, written_forms
from slm_lens.families.files import CheckpointFiles
from slm_lens.families.vocab_spec import Token, Tokens, VocabSpec
from slm_lens.vocab import SpeechTextVocab

# What looks like a control token in a text, and like the name of a unit in a tokenizer.
CONTROL = re.compile(r"<[^<>\s]+>|\[[A-Za-z]+\]")
NAMED_UNIT = re.compile(r"<[^<>\s]+>|\[[^\[\]\s]+\]")


class Labels(Mapping[int, str]):
    """Written forms of text tokens, decoded when first asked for (150,000 take a second)."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, text: list[int]) -> None:
        self._tokenizer, self._text = tokenizer, text

    @cached_property
    def _forms(self) -> dict[int, str]:
        return written_forms(self._tokenizer, self._text)

    def __getitem__(self, token: int) -> str:
        return self._forms[token]

    def __iter__(self) -> Iterator[int]:
        return iter(self._forms)

    def __len__(self) -> int:
        return len(self._forms)


def make_vocab(spec: VocabSpec, files: CheckpointFiles, d_vocab: int) -> SpeechTextVocab:
    """The partition that a description gives.

    Args:
        spec: the description.
        files: the checkpoint; its tokenizer learns to read speech tokens whole.
        d_vocab: rows of the embedding.

    Returns:
        The partition.

    Raises:
        VocabError: tokens are missing or do not fit the embedding, or there is text and no
            tokenizer for it.
    """
    if spec.has_text and files.tokenizer is None:
        raise VocabError(
            f"load: {files.name} has no tokenizer, expected text_tokenizer=. Give the folder of "
            "the text tokenizer that the model was trained with."
        )
    token_ids, tokenizer = files.token_ids, files.tokenizer
    streams = {name: stream.ids(name, token_ids) for name, stream in spec.streams.items()}
    markers = {name: token_id(t, files) for name, t in spec.markers.items()}
    named = spec.specials if isinstance(spec.specials, Mapping) else {t: t for t in spec.specials}
    specials = {t: token_id(token, files) for t, token in named.items()}
    parts = {f"stream {n!r}": ids for n, ids in streams.items()} | {
        f"token {n!r}": range(i, i + 1) for n, i in (markers | specials).items()
    }
    _check_ends(parts, d_vocab, files)  # before a long range is written out
    _check_base_rows(spec, d_vocab, files)
    _check_not_written(spec, streams, files)
    speech = {i for ids in streams.values() for i in ids} | set(markers.values())
    if tokenizer is not None:
        files.add_tokens(_pieces(tokenizer, speech | set(specials.values())))
        control = control_tokens(tokenizer, token_ids)
        specials |= {t: i for t, i in control.items() if i not in speech}
    _check_unshared(speech | set(specials.values()), files)
    used = [*speech, *specials.values(), *(token_ids.values() if spec.has_text else ())]
    outside = sorted({i for i in used if not 0 <= i < d_vocab})
    if outside:
        raise VocabError(
            f"load: {files.name} has {d_vocab} rows in its embedding, and {len(outside)} tokens "
            f"have ids outside them ({outside[:8]}); expected 0 <= id < {d_vocab}. Is the "
            "tokenizer that of this checkpoint, and the embedding resized to it?"
        )
    is_used = torch.zeros(d_vocab, dtype=torch.bool)
    is_used[torch.tensor(used, dtype=torch.int64)] = True
    padding = (~is_used).nonzero().flatten().tolist()
    is_used[torch.tensor([*speech, *specials.values()], dtype=torch.int64)] = False
    text = is_used.nonzero().flatten().tolist()
    try:
        return SpeechTextVocab(
            d_vocab=d_vocab,
            text=text,
            streams=streams,
            markers=markers,
            specials=specials,
            padding=padding,
            encode_text=_encoder(tokenizer) if tokenizer is not None and spec.has_text else None,
            labels=Labels(tokenizer, text) if tokenizer is not None and text else {},
            recycled=sorted(i for i in speech if spec.base_rows is not None and i < spec.base_rows),
        )
    except VocabError as error:
        raise VocabError(f"load: the vocabulary of {files.name} has no parts: {error}") from error


def _check_ends(parts: Mapping[str, range], d_vocab: int, files: CheckpointFiles) -> None:
    """Refuse described ids outside the embedding, of which only the ends are looked at."""
    for part, ids in parts.items():
        if ids[0] < 0 or ids[-1] >= d_vocab:
            raise VocabError(
                f"load: {files.name} has {d_vocab} rows in its embedding, and {part} has the ids "
                f"{ids[0]} to {ids[-1]}; expected 0 <= id < {d_vocab}. Is the tokenizer that of "
                "this checkpoint, and the embedding resized to it?"
            )


def _check_base_rows(spec: VocabSpec, d_vocab: int, files: CheckpointFiles) -> None:
    """Refuse rows of the text model that the embedding does not have."""
    if spec.base_rows is not None and spec.base_rows > d_vocab:
        raise VocabError(
            f"load: got base_rows={spec.base_rows} for {files.name}, whose embedding has {d_vocab} "
            f"rows; expected at most as many. Where the text model had more, give {d_vocab}: every "
            "unit then took over a row that was there."
        )


def _check_not_written(
    spec: VocabSpec, streams: Mapping[str, range], files: CheckpointFiles
) -> None:
    """Refuse units by id that the tokenizer writes words with."""
    if not spec.has_text or files.tokenizer is None:
        return
    by_id = {name: ids for name, ids in streams.items() if spec.streams[name].pattern is None}
    added = files.tokenizer.added_tokens_decoder
    for name, ids in by_id.items():
        words = sorted(
            (i, token)
            for token, i in files.token_ids.items()
            if i in ids
            and i not in added
            and (BYTE.fullmatch(token) or not NAMED_UNIT.fullmatch(token))
        )
        if words:
            raise VocabError(
                f"load: stream {name!r} is given the ids {ids[0]} to {ids[-1]}, {len(words)} of "
                f"which are text in the tokenizer ({[token for _, token in words[:4]]}); expected "
                "ids of units. Correct the offset, give pattern= instead, or has_text=False for a "
                "model without text."
            )


def _check_unshared(ids: set[int], files: CheckpointFiles) -> None:
    """Refuse a row of speech or control that a second token has too."""
    names: dict[int, list[str]] = {}
    for written, i in files.token_ids.items():
        if i in ids:
            names.setdefault(i, []).append(written)
    shared = {i: sorted(written) for i, written in names.items() if len(written) > 1}
    if shared:
        first = min(shared)
        raise VocabError(
            f"load: the tokenizer of {files.name} gives id {first} to "
            f"{' and to '.join(map(repr, shared[first]))}, expected one token for each unit, "
            "marker and control token. Was it extended at the wrong ids?"
        )


def token_id(token: Token, files: CheckpointFiles) -> int:
    """Id of a token given by written form or by id."""
    if isinstance(token, int):
        return token
    if token not in files.token_ids:
        raise VocabError(
            f"load: the tokenizer of {files.name} has no token {token!r}, expected the one that "
            "the model was trained with. Give it as text_tokenizer=, or give ids."
        )
    return files.token_ids[token]


def encode_tokens(tokens: Tokens, files: CheckpointFiles, d_vocab: int) -> tuple[int, ...]:
    """Ids of tokens given as text, as written forms, or as ids; all of them have a row.

    Raises:
        VocabError: there is no tokenizer, it lacks a token, or an id has no row.
    """
    ids = (
        _encode_text(tokens, files)
        if isinstance(tokens, str)
        else [token_id(t, files) for t in tokens]
    )
    outside = [i for i in ids if not 0 <= i < d_vocab]
    if outside:
        raise VocabError(
            f"load: got {tokens!r} to write around prompts, with the ids {outside}; expected "
            f"0 <= id < {d_vocab}, the rows in the embedding of {files.name}. Correct before, "
            "after or chat."
        )
    return tuple(ids)


def _encode_text(written: str, files: CheckpointFiles) -> list[int]:
    if files.tokenizer is None:
        raise VocabError(
            f"load: {files.name} has no tokenizer to write {written!r} with, expected ids."
        )
    absent = [t for t in CONTROL.findall(written) if t not in files.token_ids]
    if absent:
        raise VocabError(
            f"load: got {written!r} to write around prompts, and the tokenizer of {files.name} has "
            f"no token {absent[0]!r}; expected control tokens that it has. Correct it, or give the "
            "ids as a list where it is to be spelled out."
        )
    return files.tokenizer.encode(written, add_special_tokens=False)


def _encoder(tokenizer: PreTrainedTokenizerFast) -> Callable[[str], list[int]]:
    return lambda written: tokenizer.encode(written, add_special_tokens=False)


def _pieces(tokenizer: PreTrainedTokenizerFast, ids: set[int]) -> list[str]:
    """Speech and control tokens that the tokenizer lists as ordinary pieces."""
    ordinary = sorted(ids - set(tokenizer.added_tokens_decoder))
    written = (tokenizer.backend_tokenizer.id_to_token(i) for i in ordinary)
    return [t for t in written if t is not None]
