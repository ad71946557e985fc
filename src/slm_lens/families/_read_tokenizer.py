"""Text tokenizers as checkpoints ship them, as fast tokenizers that do exactly what is in the file.

| file | from | read as |
|---|---|---|
| ``tokenizer.json`` | SIMS bases, Llama-Mimi, Orpheus, SODA, Ichigo | as it is |
| ``tokenizer.model``, SentencePiece | Spirit LM, SpeechGPT | its BPE; no space put before a text |
| ``tokenizer.model``, tiktoken | GLM-4-Voice | byte-level BPE with tiktoken's ranks |

Not through ``AutoTokenizer``: in a folder whose config says "qwen2" it takes any file for a Qwen2
tokenizer, GLM-4-Voice's needs remote code, and versions of ``LlamaTokenizer`` disagree about the
space at the start of a text. The tests compare these readers with ``sentencepiece`` and
``tiktoken`` themselves.
"""

import base64
import binascii
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, processors
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import (
    SentencePieceExtractor,
    SpmConverter,
    TikTokenConverter,
)

from slm_lens._json import read_json_object

NAMED = ("bos_token", "eos_token", "unk_token", "pad_token")


def has_tokenizer(folder: Path) -> bool:
    """Whether the folder has a tokenizer that `read_tokenizer` can read."""
    return any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model"))


def read_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a folder.

    Raises:
        ValueError: the folder has none, or it is damaged.
    """
    if not has_tokenizer(folder):
        raise ValueError(
            f"load: {folder} has no tokenizer.json and no tokenizer.model, expected the folder of "
            "a tokenizer. Convert another one with "
            "AutoTokenizer.from_pretrained(...).save_pretrained(folder)."
        )
    settings = _settings(folder)
    try:
        if (folder / "tokenizer.json").is_file():
            unnamed = {k: None for k in NAMED if settings.get(k) == ""}  # as LLaMA's first port
            return PreTrainedTokenizerFast.from_pretrained(folder, **unnamed)
        return _from_model_file(folder, settings)
    except Exception as error:
        raise ValueError(
            f"load: the tokenizer in {folder} cannot be read ({error}), expected tokenizer.json, "
            "or tokenizer.model of SentencePiece or tiktoken. Was the download cut short?"
        ) from error


def _settings(folder: Path) -> dict[str, Any]:
    """Settings beside a tokenizer, those of ``tokenizer_config.json`` first.

    Raises:
        ValueError: a setting that transformers takes as it is, and fails on later.
    """
    settings = _json_if_there(folder / "special_tokens_map.json")
    settings |= _json_if_there(folder / "tokenizer_config.json")
    odd = {k: settings[k] for k in NAMED if not _names_a_token(settings.get(k))}
    longest = settings.get("model_max_length")
    if longest is not None and (isinstance(longest, bool) or not isinstance(longest, int | float)):
        odd["model_max_length"] = longest
    if odd:
        raise ValueError(
            f"load: the settings of the tokenizer in {folder} have {odd}, expected written forms "
            "of tokens, and a number as model_max_length. Was tokenizer_config.json edited?"
        )
    return settings


def _names_a_token(value: object) -> bool:
    """Whether a setting is a written form, an object with one, or nothing (also as "")."""
    written = value.get("content") if isinstance(value, dict) else value
    return value is None or isinstance(written, str)


def _from_model_file(folder: Path, settings: dict[str, Any]) -> PreTrainedTokenizerFast:
    """A tokenizer from ``tokenizer.model`` and the settings beside it."""
    named = {k: _content(settings[k]) for k in NAMED if settings.get(k)}
    added = _added_tokens(folder, settings)
    path = folder / "tokenizer.model"
    ranks = _tiktoken_ranks(path)
    if ranks is not None:
        return PreTrainedTokenizerFast(tokenizer_object=_tiktoken(ranks, added), **named)
    backend, controls = _sentencepiece(path, added)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **(controls | named))
    bos = tokenizer.bos_token
    if bos is not None and settings.get("add_bos_token", True):  # as LlamaTokenizer does
        backend.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.bos_token_id)]
        )
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **(controls | named))
    return tokenizer


def _sentencepiece(path: Path, added: dict[int, AddedToken]) -> tuple[Tokenizer, dict[str, str]]:
    """The BPE of a SentencePiece file, and the names of its control tokens."""
    extractor: Any = SentencePieceExtractor(str(path))
    parts: dict[str, Any] = extractor.extract(None)
    backend = SpmConverter.build_tokenizer_from_spm_proto(
        extractor.proto, parts["vocab"], parts.get("merges")
    )
    assert backend is not None
    backend.add_tokens(parts["additional_special_tokens"])
    _append(backend, added)
    trainer = extractor.proto.trainer_spec
    controls = {
        "bos_token": trainer.bos_piece,
        "eos_token": trainer.eos_piece,
        "unk_token": trainer.unk_piece,
    }
    return backend, {k: v for k, v in controls.items() if backend.token_to_id(v) is not None}


def _tiktoken_ranks(path: Path) -> dict[bytes, int] | None:
    """Byte strings with their ranks, one a line in base64; None if the file is not of that kind."""
    try:
        lines = [line.split() for line in path.read_bytes().splitlines() if line]
        return {base64.b64decode(token, validate=True): int(rank) for token, rank in lines}
    except (ValueError, binascii.Error):
        return None


def _tiktoken(ranks: dict[bytes, int], added: dict[int, AddedToken]) -> Tokenizer:
    """Byte-level BPE with tiktoken's ranks; added tokens keep the ids that the config gives."""

    class Ranks(TikTokenConverter):
        """Takes the ranks at hand, where the parent would read them with tiktoken."""

        @staticmethod
        def load_tiktoken_bpe(tiktoken_url: Any) -> dict[bytes, int]:  # noqa: ARG004
            return ranks

        def tokenizer(self) -> Tokenizer:
            vocab, merges = self.extract_vocab_merges_from_model("")
            vocab |= {token.content: i for i, token in added.items()}  # ids may leave gaps
            return Tokenizer(BPE(vocab, merges, ignore_merges=True))

    backend = Ranks().converted()
    backend.add_tokens(list(added.values()))
    return backend


def _append(backend: Tokenizer, added: dict[int, AddedToken]) -> None:
    """Add tokens after the last one, and refuse ids at which they would not come to stand."""
    for token_id, token in sorted(added.items()):
        backend.add_tokens([token])
        if backend.token_to_id(token.content) != token_id:
            raise ValueError(
                f"added token {token.content!r} is to have id {token_id} and gets "
                f"{backend.token_to_id(token.content)}"
            )


def _added_tokens(folder: Path, settings: dict[str, Any]) -> dict[int, AddedToken]:
    """Tokens beside the model file: ``added_tokens_decoder``, else ``added_tokens.json``."""
    decoder = settings.get("added_tokens_decoder")
    if decoder:
        return {
            int(i): AddedToken(_content(t), normalized=False, special=bool(t.get("special")))
            for i, t in decoder.items()
        }
    ids = _json_if_there(folder / "added_tokens.json")
    return {int(i): AddedToken(token, normalized=False) for token, i in ids.items()}


def _content(token: Any) -> str:
    """Written form of a token, which configs give as a string or as an object."""
    return token["content"] if isinstance(token, dict) else str(token)


def _json_if_there(path: Path) -> dict[str, Any]:
    return read_json_object(path) if path.is_file() else {}
