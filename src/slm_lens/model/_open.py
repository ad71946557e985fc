"""Which checkpoint is meant, and which family it is of, before any weight is read."""

from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from slm_lens.families.described import Described
from slm_lens.families.family import Family
from slm_lens.families.files import CheckpointFiles
from slm_lens.families.registry import recognise
from slm_lens.families.vocab_spec import VocabSpec, read_vocab_spec
from slm_lens.model.source import find_folder


def open_checkpoint(
    place: Path | PreTrainedModel,
    *,
    family: str | Family | type[Family] | None,
    vocab_spec: VocabSpec | str | Path | None,
    text_tokenizer: str | Path | PreTrainedTokenizerFast | None,
) -> tuple[CheckpointFiles, Family]:
    """The files of a checkpoint and its family; arguments as in `load`.

    Raises:
        TypeError: the text tokenizer is none.
        LookupError: no family, or no folder of a tokenizer, has this name.
        ValueError: the layout is not known, or family and description are both given.
    """  # noqa: DOC502 (raised by the parts)
    if isinstance(text_tokenizer, str | Path):
        text_tokenizer = find_folder(text_tokenizer, weights=False, option="text_tokenizer")
    elif text_tokenizer is not None and not isinstance(text_tokenizer, PreTrainedTokenizerFast):
        raise TypeError(
            f"load: got a {type(text_tokenizer).__name__} as text_tokenizer, expected a folder, a "
            "hub id or a PreTrainedTokenizerFast. Wrap a tokenizers.Tokenizer: "
            "PreTrainedTokenizerFast(tokenizer_object=...)."
        )
    files = CheckpointFiles(place, text_tokenizer=text_tokenizer)
    if vocab_spec is None:
        return files, recognise(files, family)
    if family is not None:
        raise ValueError(
            f"load: got family={family!r} and a vocab_spec, expected one of them. A described "
            "vocabulary needs no family."
        )
    given = vocab_spec if isinstance(vocab_spec, VocabSpec) else read_vocab_spec(vocab_spec)
    return files, Described(given)
