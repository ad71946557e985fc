"""The slamkit layout: SIMS and every interleaved model that slamkit trained.

A slamkit folder wraps a Hugging Face language model:

- ``config.json``: ``model_type`` is "speech_language_model"; ``base_config`` is the whole config
  of the language model inside, but its ``vocab_size`` is the one *before* units were added; the
  real one is the top-level ``vocab_size``;
- weights: the inner model's names with ``lm.`` before them;
- tokens: the text tokenizer's, then ``<Un0>`` ... ``<Un{n-1}>``, then ``<speech>`` and ``<text>``.
  Ids are looked up in the tokenizer, never assumed. Published folders come without a tokenizer:
  the user names the one of the text model that the training began with.

Source: slamkit (https://github.com/slp-rl/slamkit), ``model/unit_lm.py`` and
``tokeniser/interleaving_tokeniser.py``; Maimon et al. 2025, arXiv:2504.02398.
"""

import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as transformers_logging

from slm_lens.errors import VocabError
from slm_lens.families._tokenizers import (
    added_around,
    control_tokens,
    read_tokenizer,
    written_forms,
)
from slm_lens.families._weights import read_weights, stored_dtype
from slm_lens.families.checkpoint import Checkpoint
from slm_lens.families.prompt import PromptFormat
from slm_lens.vocab import SpeechTextVocab

MODEL_TYPE = "speech_language_model"
UNIT = re.compile(r"<Un(\d+)>")
MARKERS = {"speech": "<speech>", "text": "<text>"}
# Keys of base_config that say where and how the base was stored, not what it is.
STORAGE_KEYS = (
    "model_type",
    "torch_dtype",
    "dtype",
    "_name_or_path",
    "_attn_implementation_autoset",
)


def load_slamkit(
    folder: Path,
    config: dict[str, Any],
    *,
    dtype: torch.dtype | None,
    device: str | torch.device,
    text_tokenizer: str | Path | PreTrainedTokenizerFast | None,
) -> Checkpoint:
    """Load an interleaved model from a slamkit folder.

    Args:
        folder: the folder.
        config: its ``config.json``.
        dtype: dtype to load the weights in; None keeps the one on disk.
        device: where to put the model.
        text_tokenizer: tokenizer of the text model, or its folder; None takes the one in
            `folder`.

    Returns:
        The inner language model with its vocabulary and prompt format.

    Raises:
        ValueError: the config is incomplete, or there is no tokenizer.
        VocabError: tokenizer and embedding do not fit, or the folder holds a unit-only model.
    """  # noqa: DOC502 (raised by the parts)
    missing = [k for k in ("vocab_size", "base_config") if k not in config]
    if missing or "model_type" not in config["base_config"]:
        raise ValueError(
            f"load: config.json in {folder} lacks {missing or 'base_config.model_type'}, expected "
            "the config that slamkit writes. Was it edited?"
        )
    tokenizer = _tokenizer(folder, config, text_tokenizer)
    vocab = _vocab(tokenizer, config["vocab_size"])
    bos, appends_eos = added_around(tokenizer, next(iter(vocab.labels.values())))
    hf_model = _inner_model(folder, config, dtype)
    return Checkpoint(
        hf_model=hf_model.to(device),  # pyright: ignore[reportArgumentType] (wrapped method)
        tokenizer=tokenizer,
        prepends_bos=bos is not None,
        appends_eos=appends_eos,
        vocab=vocab,
        prompt_format=PromptFormat(
            before=() if bos is None else (bos,),
            after=(),
            mark_speech_only=False,
            mark_text_only=True,
            repeat_marker=True,
        ),
        family="sims",
    )


def _tokenizer(
    folder: Path,
    config: dict[str, Any],
    text_tokenizer: str | Path | PreTrainedTokenizerFast | None,
) -> PreTrainedTokenizerFast:
    """The tokenizer with units and markers, which are appended to a bare text tokenizer."""
    if isinstance(text_tokenizer, PreTrainedTokenizerFast):
        tokenizer = copy.deepcopy(text_tokenizer)  # tokens may be added below
    elif text_tokenizer is not None:
        tokenizer = read_tokenizer(Path(text_tokenizer))
    elif (folder / "tokenizer.json").is_file():
        tokenizer = read_tokenizer(folder)
    elif config["vocab_size"] < config["base_config"].get("vocab_size", 0):
        raise _unit_only(f"{folder} has no tokenizer", config["vocab_size"])
    else:
        raise ValueError(
            f"load: {folder} has no tokenizer.json, expected text_tokenizer=. Give the folder of "
            "the text model that the training began with, e.g. Qwen2.5-7B for SIMS-7B."
        )
    if "<Un0>" not in tokenizer.get_vocab():
        n_text = len(tokenizer)
        n_units = config["vocab_size"] - n_text - len(MARKERS)
        if n_units <= 0:
            raise _unit_only(f"the text tokenizer has {n_text} tokens", config["vocab_size"])
        tokenizer.add_tokens([*(f"<Un{u}>" for u in range(n_units)), *MARKERS.values()])
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # as TransformerLens does
    return tokenizer


def _unit_only(what: str, d_vocab: int) -> VocabError:
    return VocabError(
        f"load: {what} and the model has {d_vocab} token ids, expected more than the text "
        "tokenizer's: text, units and 2 markers. This is the vocabulary of a unit-only model "
        "(Slam: 2 control tokens and the units, no text), which is not supported: it has no text "
        "to read. If the model is interleaved, give its own text tokenizer as text_tokenizer=."
    )


def _vocab(tokenizer: PreTrainedTokenizerFast, d_vocab: int) -> SpeechTextVocab:
    """Partition of the embedding's rows, read from the tokenizer."""
    id_of = tokenizer.get_vocab()
    absent = [written for written in MARKERS.values() if written not in id_of]
    if absent:
        raise VocabError(
            f"load: the tokenizer has units but no {' and no '.join(absent)}, expected the "
            "markers of the interleaved layout. A unit-only model (Slam) is not supported: it "
            "has no text to read."
        )
    unit_of = {i: int(m[1]) for t, i in id_of.items() if (m := UNIT.fullmatch(t))}
    units = sorted(unit_of)
    if [unit_of[i] for i in units] != list(range(len(units))) or units[-1] - units[0] >= len(units):
        raise VocabError(
            f"load: the tokenizer has {len(units)} units on ids {units[0]} to {units[-1]}, "
            f"expected <Un0> to <Un{len(units) - 1}> on ids that follow each other. Was it "
            "extended by slamkit, units first?"
        )
    markers = {name: id_of[written] for name, written in MARKERS.items()}
    speech = set(units) | set(markers.values())
    specials = {t: i for t, i in control_tokens(tokenizer).items() if i not in speech}
    used = set(id_of.values())
    text = sorted(used - speech - set(specials.values()))
    return SpeechTextVocab(
        d_vocab=d_vocab,
        text=text,
        streams={"units": range(units[0], units[-1] + 1)},
        markers=markers,
        specials=specials,
        padding=sorted(set(range(d_vocab)) - used),
        encode_text=lambda written: tokenizer.encode(written, add_special_tokens=False),
        labels=written_forms(tokenizer, text),
    )


def _inner_model(
    folder: Path, config: dict[str, Any], dtype: torch.dtype | None
) -> PreTrainedModel:
    """The language model inside, with every weight accounted for."""
    weights = read_weights(folder)
    foreign = sorted(name for name in weights if not name.startswith("lm."))
    if foreign:
        raise ValueError(
            f"load: {folder} has weights {foreign[:8]} without the prefix 'lm.', expected only "
            "those of the wrapped language model. Was it saved by slamkit?"
        )
    weights = {name.removeprefix("lm."): w for name, w in weights.items()}
    base = {k: v for k, v in config["base_config"].items() if k not in STORAGE_KEYS}
    base["vocab_size"] = config["vocab_size"]
    inner: PreTrainedConfig = AutoConfig.for_model(config["base_config"]["model_type"], **base)
    with torch.device("meta"):
        skeleton = AutoModelForCausalLM.from_config(inner, attn_implementation="eager")
    inner.architectures = [type(skeleton).__name__]
    _check_weights(folder, skeleton, inner, weights)
    with _no_progress_bar():
        model = type(skeleton).from_pretrained(
            None,
            config=inner,
            state_dict=weights,
            dtype=stored_dtype(weights) if dtype is None else dtype,
            attn_implementation="eager",
        )
    return model.eval()


def _check_weights(
    folder: Path, skeleton: PreTrainedModel, config: PreTrainedConfig, weights: dict[str, Tensor]
) -> None:
    """Refuse weights that are missing, left over, of another shape, or tied in name only."""
    expected = {name: tuple(w.shape) for name, w in skeleton.state_dict().items()}
    tied = dict(skeleton.all_tied_weights_keys) if config.tie_word_embeddings else {}
    missing = sorted(set(expected) - set(weights) - set(tied))
    unexpected = sorted(set(weights) - set(expected))
    shapes = [
        f"{name} {tuple(weights[name].shape)} instead of {shape}"
        for name, shape in expected.items()
        if name in weights and tuple(weights[name].shape) != shape
    ]
    if missing or unexpected or shapes:
        raise ValueError(
            f"load: the weights in {folder} are not those of {type(skeleton).__name__}: missing "
            f"{missing[:8]}, unexpected {unexpected[:8]}, of another shape {shapes[:8]}; expected "
            "none of each. Do config.json and the weights belong together?"
        )
    untied = [
        k for k, v in tied.items() if k in weights and not torch.equal(weights[k], weights[v])
    ]
    if untied:
        raise ValueError(
            f"load: {folder} stores {untied} apart from the embedding, but its base_config has "
            "tie_word_embeddings true; expected equal weights or none. Set it to false."
        )


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Keep the loader's progress bar off the terminal: the weights are in memory already."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
