"""From the files of a recognised checkpoint to a loaded model that knows its vocabulary."""

from pathlib import Path
from typing import cast

from torch import nn
from transformers import (
    AutoConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from slm_lens.errors import VocabError
from slm_lens.families._adapters import add_adapter
from slm_lens.families._config_checks import refuse_quantised
from slm_lens.families._foreign import foreign
from slm_lens.families._hf_model import Placement, build_model, check_finite, twin
from slm_lens.families._skeleton import make_skeleton, refuse_unsupported
from slm_lens.families._tokenizers import added_around
from slm_lens.families._vocab import encode_tokens, make_vocab
from slm_lens.families._weights import StoredTensor
from slm_lens.families.checkpoint import Checkpoint
from slm_lens.families.family import Family
from slm_lens.families.files import CheckpointFiles
from slm_lens.families.prompt import PromptFormat, Turn
from slm_lens.families.registry import check_family_name
from slm_lens.families.vocab_spec import VocabSpec
from slm_lens.sequence.word_span import Modality
from slm_lens.vocab import SpeechTextVocab


def load_checkpoint(
    files: CheckpointFiles,
    family: Family,
    placement: Placement,
    *,
    adapter: Path | None = None,
    adapter_name: str | None = None,
    merge_adapter: bool = True,
    trust_remote_code: bool = False,
) -> Checkpoint:
    """Load a checkpoint of a known family.

    Names and shapes of the weights are compared with the config first, so that no number of a
    config makes anything large. The vocabulary is made before the weights themselves are read, so
    that a wrong tokenizer is told at once.

    Args:
        files: the checkpoint.
        family: whose layout it has.
        placement: dtype and devices of the weights.
        adapter: folder of a PEFT adapter (LoRA) to put on top; None for none.
        adapter_name: its name or hub id, for the provenance; None for the folder.
        merge_adapter: merge the adapter into the weights, or keep it live.
        trust_remote_code: whether classes that come with the checkpoint may be run.

    Returns:
        The model with its vocabulary and prompt format.

    Raises:
        ValueError: config, weights or adapter cannot be used.
        VocabError: tokenizer and embedding do not fit.
    """  # noqa: DOC502 (raised by the parts)
    stored, bare = _bare_model(files, family, trust_remote_code)
    spec = family.spec(files)
    check_family_name(spec, family)
    vocab = make_vocab(spec, files, _d_vocab(bare, files))
    prompt_format, prepends_bos, appends_eos = _prompt_format(spec, files, vocab)
    if stored is None:
        hf_model = cast(PreTrainedModel, twin(bare))
        hf_model.set_attn_implementation("eager")
        check_finite(hf_model, files.name)
    else:
        hf_model = build_model(bare, stored, placement, where=files.name)
    named_adapter = None
    if adapter is not None:
        named_adapter = f"{adapter_name or adapter} ({'merged' if merge_adapter else 'live'})"
        hf_model = add_adapter(
            hf_model, adapter, prefix=family.weight_prefix(files), merge=merge_adapter
        )
        check_finite(hf_model, f"{files.name} with the adapter {adapter}")
    return Checkpoint(
        hf_model=hf_model,
        tokenizer=_with_padding(files.tokenizer),
        prepends_bos=prepends_bos,
        appends_eos=appends_eos,
        vocab=vocab,
        prompt_format=prompt_format,
        family=spec.family or family.name,
        spec=spec,
        word_policy=spec.word_policy,
        adapter=named_adapter,
    )


def _bare_model(
    files: CheckpointFiles, family: Family, trust_remote_code: bool
) -> tuple[dict[str, StoredTensor] | None, PreTrainedModel]:
    """The stored weights with the model that they go into; or None with the model in memory."""
    if files.hf_model is not None:
        inner = family.inner_model(files)
        refuse_unsupported(inner.config, type(inner).__name__, files.name)
        return None, inner
    refuse_quantised(files.config, files.name)
    config = _config(files, family, trust_remote_code)
    stored = family.weights(files)
    return stored, make_skeleton(
        config, stored, where=files.name, trust_remote_code=trust_remote_code
    )


def _config(files: CheckpointFiles, family: Family, trust_remote_code: bool) -> PreTrainedConfig:
    """The language model's config; from the checkpoint's own class only with consent."""
    if not (trust_remote_code and "auto_map" in files.config):
        return family.hf_config(files)
    with foreign("transformers", "run the config class that comes with", files.name):
        return AutoConfig.from_pretrained(str(files.folder), trust_remote_code=True)


def _d_vocab(model: PreTrainedModel, files: CheckpointFiles) -> int:
    """Rows of the embedding, which transformer-lens takes from the config."""
    embedding = cast(nn.Embedding, model.get_input_embeddings())
    rows, named = embedding.weight.shape[0], model.config.vocab_size
    if rows != named:
        raise VocabError(
            f"load: the embedding of {files.name} has {rows} rows and its config "
            f"vocab_size={named!r}, expected the same. Use model.resize_token_embeddings, which "
            "changes both."
        )
    return rows


def _prompt_format(
    spec: VocabSpec, files: CheckpointFiles, vocab: SpeechTextVocab
) -> tuple[PromptFormat, bool, bool]:
    """How prompts are written, and what the tokenizer adds before and after a text by itself."""
    tokenizer = files.tokenizer
    bos, appends_eos = None, False
    if tokenizer is not None and vocab.text:
        bos, appends_eos = added_around(tokenizer, _a_text_token(tokenizer, vocab))
    before = spec.before
    if before is None:
        before = () if bos is None else (bos,)
    return (
        PromptFormat(
            before=encode_tokens(before, files, vocab.d_vocab),
            after=encode_tokens(spec.after, files, vocab.d_vocab),
            mark_speech_only=spec.mark_speech_only,
            mark_text_only=spec.mark_text_only,
            repeat_marker=spec.repeat_marker,
            leading_space=spec.leading_space,
            chat={
                cast(Modality, modality): Turn(
                    before=encode_tokens(turn.before, files, vocab.d_vocab),
                    after=encode_tokens(turn.after, files, vocab.d_vocab),
                )
                for modality, turn in spec.chat.items()
            },
        ),
        bos is not None,
        appends_eos,
    )


def _a_text_token(tokenizer: PreTrainedTokenizerFast, vocab: SpeechTextVocab) -> str:
    """Some text that is one token, to see what the tokenizer puts around it."""
    for token in vocab.text:
        written = str(tokenizer.decode([token]))
        if written.isascii() and written.isalnum() and len(written) == 1:
            return written
    raise VocabError(
        "load: no token of the text tokenizer is a single letter or digit, expected one. Is it a "
        "text tokenizer?"
    )


def _with_padding(tokenizer: PreTrainedTokenizerFast | None) -> PreTrainedTokenizerFast | None:
    """The tokenizer with a token to pad with, as TransformerLens wants it."""
    if tokenizer is not None and tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
