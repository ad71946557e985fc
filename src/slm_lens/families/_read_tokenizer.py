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

import gc
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, processors
from transformers import PreTrainedTokenizerFast

from slm_lens._json import read_json_object
from slm_lens.families._tokenizer_models import (
    sentencepiece_backend,
    tiktoken_backend,
    tiktoken_ranks,
)

# The list in tokenizer.json. A piece of that name has a number behind it, and one with quotes a
# backslash before them.
ADDED_TOKENS = re.compile(r'(?<!\\)"added_tokens"\s*:\s*(?=\[)')
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
        with _no_collection():
            tokenizer = _read(folder, settings)
        written = _written_ids(folder, settings)
    except Exception as error:
        raise ValueError(
            f"load: the tokenizer in {folder} cannot be read ({error}), expected tokenizer.json, "
            "or tokenizer.model of SentencePiece or tiktoken. Was the download cut short?"
        ) from error
    _check_ids(tokenizer, written, folder)
    return tokenizer


def _read(folder: Path, settings: dict[str, Any]) -> PreTrainedTokenizerFast:
    if not (folder / "tokenizer.json").is_file():
        return _from_model_file(folder, settings)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    _unname_empty(tokenizer, settings)
    return tokenizer


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector from going through 150,000 pieces again and again as they come.

    They are all kept; looking for garbage among them takes a third of the time to read them.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _unname_empty(tokenizer: PreTrainedTokenizerFast, settings: dict[str, Any]) -> None:
    """Take an empty name of a token, as LLaMA's first port has it, for none."""
    for name in NAMED:
        if getattr(tokenizer, name) == "":
            setattr(tokenizer, name, _content(settings[name]) if settings.get(name) else None)


def _written_ids(folder: Path, settings: dict[str, Any]) -> dict[str, int]:
    """Ids that the files give to added tokens by written form."""
    if not (folder / "tokenizer.json").is_file():
        return {token.content: i for i, token in _added_tokens(folder, settings).items()}
    content = (folder / "tokenizer.json").read_text(encoding="utf-8")
    # Only the list of added tokens is parsed: the pieces and merges around it take half a second.
    start = ADDED_TOKENS.search(content)
    added = [] if start is None else json.JSONDecoder().raw_decode(content, start.end())[0]
    decoder = settings.get("added_tokens_decoder") or {}
    beside = {_content(token): int(i) for i, token in decoder.items()}
    return beside | {token["content"]: token["id"] for token in added}


def _check_ids(tokenizer: PreTrainedTokenizerFast, written: dict[str, int], folder: Path) -> None:
    """Refuse a tokenizer whose added tokens came to stand elsewhere than the files say.

    ``tokenizers`` appends them one after the other, whatever their ids, and only logs it.

    Raises:
        ValueError: there are such tokens.
    """
    read = {t: tokenizer.backend_tokenizer.token_to_id(t) for t in written}
    moved = {t: (i, read[t]) for t, i in written.items() if read[t] != i}
    if moved:
        token, (told, got) = next(iter(moved.items()))
        raise ValueError(
            f"load: the files of the tokenizer in {folder} give id {told} to {token!r}, which gets "
            f"{got} when they are read, and so on for {len(moved)} tokens; expected the same. Do "
            "the ids of the added tokens leave a gap, or do two files disagree?"
        )


def _settings(folder: Path) -> dict[str, Any]:
    """Settings beside a tokenizer, those of ``tokenizer_config.json`` first.

    Raises:
        ValueError: a setting that transformers takes as it is, and fails on later.
    """
    settings: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        entries = _json_if_there(folder / name)
        odd = {k: v for k, v in entries.items() if k.endswith("_token") and not _suits(k, v)}
        longest = entries.get("model_max_length")
        if isinstance(longest, bool) or not isinstance(longest, int | float | None):
            odd["model_max_length"] = longest
        if odd:
            raise ValueError(
                f"load: {name} in {folder} has {odd}, expected written forms of tokens, and a "
                "number as model_max_length. Was it edited?"
            )
        settings |= {k: v for k, v in entries.items() if not (k in NAMED and v == "")}
    return settings


def _suits(name: str, value: object) -> bool:
    """Whether a setting is a written form, an object with one, or nothing."""
    if name.startswith("add_"):  # add_bos_token
        return value is None or isinstance(value, bool)
    return value is None or isinstance(
        value.get("content") if isinstance(value, dict) else value, str
    )


def _from_model_file(folder: Path, settings: dict[str, Any]) -> PreTrainedTokenizerFast:
    """A tokenizer from ``tokenizer.model`` and the settings beside it."""
    named = {k: _content(settings[k]) for k in NAMED if settings.get(k)}
    added = _added_tokens(folder, settings)
    path = folder / "tokenizer.model"
    ranks = tiktoken_ranks(path)
    if ranks is not None:
        return PreTrainedTokenizerFast(tokenizer_object=tiktoken_backend(ranks, added), **named)
    backend, controls = sentencepiece_backend(path, added)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **(controls | named))
    bos = tokenizer.bos_token
    if bos is not None and settings.get("add_bos_token", True):  # as LlamaTokenizer does
        backend.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.bos_token_id)]
        )
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **(controls | named))
    return tokenizer


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
