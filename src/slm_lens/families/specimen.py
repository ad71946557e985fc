"""A checkpoint reduced to what tells its layout: some entries of its config, and its tokens."""

from collections.abc import Iterable, Mapping
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from slm_lens.families.files import CheckpointFiles


def specimen_files(config: Mapping[str, Any], tokens: Iterable[str] = ()) -> CheckpointFiles:
    """Files of a checkpoint that has no weights, for `Family.specimen` and for tests of a family.

    Args:
        config: the entries of ``config.json`` that the family looks at.
        tokens: the tokens that it looks at, in the order of their ids, which count from 0; none
            for a checkpoint without a tokenizer.

    Returns:
        The files.
    """
    ids = {token: i for i, token in enumerate(tokens)}
    if not ids:
        return CheckpointFiles(config)
    backend = Tokenizer(WordLevel(ids, unk_token=next(iter(ids))))
    return CheckpointFiles(config, text_tokenizer=PreTrainedTokenizerFast(tokenizer_object=backend))
