"""From a description and a tokenizer to the partition of the embedding's rows."""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property

import torch
from transformers import PreTrainedTokenizerFast

from slm_lens.errors import VocabError
from slm_lens.families._tokenizers import control_tokens, written_forms
from slm_lens.families.files import CheckpointFiles
from slm_lens.families.vocab_spec import Token, Tokens, VocabSpec
from slm_lens.vocab import SpeechTextVocab


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


def _check_unshared(ids: set[int], files: CheckpointFiles) -> None:
    """Refuse a row of speech or control that a second token has too."""
    owner: dict[int, str] = {}
    for written, i in files.token_ids.items():
        if i in ids and owner.setdefault(i, written) != written:
            raise VocabError(
                f"load: the tokenizer of {files.name} gives id {i} to {owner[i]!r} and to "
                f"{written!r}, expected one token for each unit, marker and control token. Was it "
                "extended at the wrong ids?"
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


def encode_tokens(tokens: Tokens, files: CheckpointFiles) -> tuple[int, ...]:
    """Ids of tokens given as text, as written forms, or as ids."""
    if not isinstance(tokens, str):
        return tuple(token_id(t, files) for t in tokens)
    if files.tokenizer is None:
        raise VocabError(
            f"load: {files.name} has no tokenizer to write {tokens!r} with, expected ids."
        )
    return tuple(files.tokenizer.encode(tokens, add_special_tokens=False))


def _encoder(tokenizer: PreTrainedTokenizerFast) -> Callable[[str], list[int]]:
    return lambda written: tokenizer.encode(written, add_special_tokens=False)


def _pieces(tokenizer: PreTrainedTokenizerFast, ids: set[int]) -> list[str]:
    """Speech and control tokens that the tokenizer lists as ordinary pieces."""
    ordinary = sorted(ids - set(tokenizer.added_tokens_decoder))
    written = (tokenizer.backend_tokenizer.id_to_token(i) for i in ordinary)
    return [t for t in written if t is not None]
