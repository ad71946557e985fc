"""``tokenizer.model`` as the backend of a fast tokenizer: SentencePiece, or tiktoken's ranks."""

import base64
import binascii
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE
from transformers.convert_slow_tokenizer import (
    SentencePieceExtractor,
    SpmConverter,
    TikTokenConverter,
)

BPE_TYPE = 2  # of SentencePiece's model_type
MAX_GAP = 2  # unused ids between the ranks and the added tokens: OpenAI's vocabularies have one


def sentencepiece_backend(
    path: Path, added: dict[int, AddedToken]
) -> tuple[Tokenizer, dict[str, str]]:
    """The BPE of a SentencePiece file, and the names of its control tokens.

    Raises:
        ValueError: the file ends too early, is not BPE, or an added token gets another id.
    """
    extractor: Any = SentencePieceExtractor(str(path))
    proto = extractor.proto  # whose last two fields are the specs; a shorter file may parse as well
    if not (proto.pieces and proto.HasField("trainer_spec") and proto.HasField("normalizer_spec")):
        raise ValueError(f"it ends after {len(proto.pieces)} pieces, without its settings")
    if proto.trainer_spec.model_type != BPE_TYPE:
        raise ValueError(
            f"its SentencePiece model_type is {proto.trainer_spec.model_type}, and not {BPE_TYPE}, "
            "BPE; write a tokenizer.json for it"
        )
    parts: dict[str, Any] = extractor.extract(None)
    backend = SpmConverter.build_tokenizer_from_spm_proto(
        proto, parts["vocab"], parts.get("merges")
    )
    assert backend is not None
    backend.add_tokens(parts["additional_special_tokens"])
    _append(backend, added)
    trainer = proto.trainer_spec
    controls = {
        "bos_token": trainer.bos_piece,
        "eos_token": trainer.eos_piece,
        "unk_token": trainer.unk_piece,
    }
    return backend, {k: v for k, v in controls.items() if backend.token_to_id(v) is not None}


def tiktoken_ranks(path: Path) -> dict[bytes, int] | None:
    """Byte strings with their ranks, one a line in base64; None if the file is not of that kind."""
    try:
        lines = [line.split() for line in path.read_bytes().splitlines() if line]
        ranks = {base64.b64decode(token, validate=True): int(rank) for token, rank in lines}
    except (ValueError, binascii.Error):
        return None
    return ranks or None


def tiktoken_backend(ranks: dict[bytes, int], added: dict[int, AddedToken]) -> Tokenizer:
    """Byte-level BPE with tiktoken's ranks; added tokens keep the ids that the config gives.

    Raises:
        ValueError: ranks are missing, or added tokens are where ranks are, or of one name.
    """
    n_ranks, first_added = len(ranks), min(added, default=len(ranks))
    if (
        sorted(ranks.values()) != list(range(n_ranks))
        or not {bytes([b]) for b in range(256)} <= ranks.keys()
        or not n_ranks <= first_added <= n_ranks + MAX_GAP
    ):
        raise ValueError(
            f"it has {n_ranks} ranks, and the first added token has id {first_added}; expected "
            "each number from 0 up to it, and each single byte among them"
        )
    if len({token.content for token in added.values()}) != len(added):
        raise ValueError("two added tokens have one written form")

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
