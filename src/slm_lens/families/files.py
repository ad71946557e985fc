"""A checkpoint as its files describe it, read when asked for and only once."""

import copy
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import AddedToken, PreTrainedModel, PreTrainedTokenizerFast

from slm_lens._json import read_json_object
from slm_lens.families._read_tokenizer import has_tokenizer, read_tokenizer
from slm_lens.families._weights import StoredTensor, stored_weights


class CheckpointFiles:
    """A folder with a model, a Hugging Face model that is in memory, or a config alone.

    Families look at it to tell whether it is theirs; nothing is loaded to find that out but
    ``config.json`` and, when a family asks, the tokenizer and the names of the weights.

    Args:
        source: folder, model, or the entries of a config, which have no weights to load.
        text_tokenizer: tokenizer of the text, or its folder; None takes the one in the folder.

    Attributes:
        folder: the folder; None for a model in memory.
        hf_model: the model in memory; None for a folder or a config.

    Raises:
        ValueError: there is no ``config.json``, or it is not a JSON object.
    """

    def __init__(
        self,
        source: Path | PreTrainedModel | Mapping[str, Any],
        *,
        text_tokenizer: str | Path | PreTrainedTokenizerFast | None = None,
    ) -> None:
        self.folder = source if isinstance(source, Path) else None
        self.hf_model = source if isinstance(source, PreTrainedModel) else None
        self._given_tokenizer = text_tokenizer
        self.config: dict[str, Any]
        if isinstance(source, Path):
            self.config = _read_config(source)
        else:
            self.config = dict(source) if isinstance(source, Mapping) else source.config.to_dict()

    @property
    def name(self) -> str:
        """The folder, or the class of the model in memory, for messages."""
        in_memory = "config" if self.hf_model is None else type(self.hf_model).__name__
        return str(self.folder) if self.folder else f"this {in_memory}"

    @property
    def model_type(self) -> str:
        """``model_type`` of the config; empty if it has none."""
        return str(self.config.get("model_type", ""))

    @property
    def architecture(self) -> str:
        """First of the config's ``architectures``; empty if it names none."""
        named = self.config.get("architectures")
        return str(named[0]) if isinstance(named, list) and named else ""

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerFast | None:
        """A copy of the text tokenizer that was given, or the folder's own; None without one."""
        given = self._given_tokenizer
        if isinstance(given, PreTrainedTokenizerFast):
            return copy.deepcopy(given)  # tokens may be added to it
        if given is not None:
            return read_tokenizer(Path(given))
        if self.folder is None or not has_tokenizer(self.folder):
            return None
        return read_tokenizer(self.folder)

    @cached_property
    def _token_ids(self) -> dict[str, int]:
        return {} if self.tokenizer is None else self.tokenizer.get_vocab()

    @property
    def token_ids(self) -> Mapping[str, int]:
        """Id of every token of the tokenizer by its name; empty without a tokenizer."""
        return self._token_ids

    def add_tokens(self, tokens: Sequence[str]) -> None:
        """Append tokens to `tokenizer`, and make those that it has as pieces whole tokens.

        Args:
            tokens: their written forms, not normalised.
        """
        if self.tokenizer is None or not tokens:
            return
        n_before = len(self.token_ids)
        added: list[str | AddedToken] = [AddedToken(t, normalized=False) for t in tokens]
        self.tokenizer.add_tokens(added)
        new = [t for t in tokens if t not in self.token_ids]
        for token in new:
            token_id = self.tokenizer.backend_tokenizer.token_to_id(token)
            assert token_id is not None
            self._token_ids[token] = token_id
        assert len(self.token_ids) == n_before + len(new)

    @cached_property
    def weights(self) -> dict[str, StoredTensor]:
        """The stored tensors by name, not read yet; empty for a model in memory."""
        return {} if self.folder is None else stored_weights(self.folder)

    def number(self, key: str, *, at_least: int = 0) -> int:
        """A whole number of the config.

        Args:
            key: name in ``config.json``.
            at_least: smallest number that makes sense.

        Returns:
            The number.

        Raises:
            ValueError: it is missing, no whole number, or too small.
        """  # noqa: DOC502 (raised by whole_number)
        return whole_number(self.config, key, self.name, at_least=at_least)


def whole_number(config: Mapping[str, Any], key: str, where: str, *, at_least: int = 0) -> int:
    """A whole number of a config that has to be there.

    Args:
        config: the config.
        key: name in it.
        where: whose config it is, for the message.
        at_least: smallest number that makes sense.

    Returns:
        The number.

    Raises:
        ValueError: it is missing, no whole number, or too small.
    """
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise ValueError(
            f"load: the config of {where} has {key}={value!r}, expected a whole number of at "
            f"least {at_least}. Was config.json edited?"
        )
    return value


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise ValueError(
            f"load: {folder} has no config.json, expected a folder with a model. Is it one level "
            "deeper?"
        )
    return read_json_object(path)
