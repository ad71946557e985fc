"""A speech-text model as a TransformerLens model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from transformer_lens.factories.architecture_adapter_factory import ArchitectureAdapterFactory
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.generalized_components.base import GeneralizedComponent
from transformer_lens.model_bridge.sources import build_bridge_config_from_hf
from transformer_lens.utilities.multi_gpu import count_unique_devices
from transformers import PreTrainedModel
from transformers.initialization import no_init_weights

from slm_lens.errors import VocabError
from slm_lens.families._foreign import foreign
from slm_lens.families.checkpoint import Checkpoint
from slm_lens.families.prompt import PromptFormat
from slm_lens.families.vocab_spec import VocabSpec
from slm_lens.model._inputs import check_units
from slm_lens.model._prompts import interleaved_prompt, spoken_prompt, written_prompt
from slm_lens.model.plain_forward import PlainForward
from slm_lens.model.provenance import Provenance
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.sequence.word_span import Modality
from slm_lens.speech.alignment import Alignment
from slm_lens.speech.units import SpeechUnits, UnitTokenizer
from slm_lens.vocab import SpeechTextVocab, WordPolicy


@dataclass(frozen=True)
class _Source:
    """Held apart, so that `torch.nn.Module` takes no neural unit tokenizer for a submodule."""

    name: str
    family: str
    adapter: str | None
    unit_tokenizer: UnitTokenizer | None


class HookedSLM(TransformerBridge):
    """A TransformerBridge that knows its vocabulary, unit tokenizer and prompt format.

    Everything of `transformer_lens` works on it as it is: hooks, caches, patching, and
    ``tools.analysis``. Token ids come from a `SpeechTextSequence`::

        model = slm_lens.load("organism")
        sequence = model.sequence_from_audio("clip.flac")
        logits, cache = model.run_with_cache(sequence.tokens[None])

    The bridge rewrites the model that it wraps, so the checkpoint's ``hf_model`` is used up.

    Args:
        checkpoint: the loaded model and what its tokens mean.
        name: name or folder, for the provenance of results.
        unit_tokenizer: what turns sound into this model's units; None if it is not known.

    Attributes:
        vocab: which embedding rows are text, units, markers, specials, padding.
        prompt_format: how prompts are written for this model.
        vocab_spec: the description that both were made from, with the frame rate of each speech
            stream; None if they were put together by hand.
        word_policy: which tokens count as a word for this model, if nothing else is asked for.
        random_weights_seed: seed of the copies that `random_weights` makes; None for the weights
            that were loaded.
        plain_forward: the model without hooks, for what reads the residual stream alone.

    Raises:
        VocabError: the unit tokenizer and the vocabulary disagree on the number of units.
        ValueError: transformer-lens cannot wrap the model.
    """

    vocab: SpeechTextVocab
    prompt_format: PromptFormat
    vocab_spec: VocabSpec | None
    word_policy: WordPolicy
    random_weights_seed: int | None
    plain_forward: PlainForward

    def __init__(
        self, checkpoint: Checkpoint, *, name: str, unit_tokenizer: UnitTokenizer | None
    ) -> None:
        n_units = checkpoint.vocab.n_units()
        if unit_tokenizer is not None and unit_tokenizer.n_units != n_units:
            raise VocabError(
                f"HookedSLM: the unit tokenizer has {unit_tokenizer.n_units} units and the "
                f"vocabulary {n_units}, expected the same. Are text tokenizer and unit tokenizer "
                f"those that {name} was trained with?"
            )
        with foreign("transformer-lens", "wrap the model of", name):
            self._wrap(checkpoint, name)
        self.vocab = checkpoint.vocab
        self.prompt_format = checkpoint.prompt_format
        self.vocab_spec = checkpoint.spec
        self.word_policy = checkpoint.word_policy
        self.random_weights_seed = None
        self._source = _Source(name, checkpoint.family, checkpoint.adapter, unit_tokenizer)

    def _wrap(self, checkpoint: Checkpoint, name: str) -> None:
        """Become the bridge of a checkpoint's model.

        As `build_bridge_from_module`, which always makes the base class and may reload the
        tokenizer from its folder, and so drop units that were added to it in memory.

        Raises:
            ValueError: the model lacks a part that the bridge calls.
        """
        hf_model = checkpoint.hf_model
        adapter = ArchitectureAdapterFactory.select_architecture_adapter(
            build_bridge_config_from_hf(
                hf_model.config, type(hf_model).__name__, name, hf_model.dtype
            )
        )
        adapter.cfg.device = str(hf_model.get_input_embeddings().weight.device)
        adapter.cfg.n_devices = count_unique_devices(hf_model)
        adapter.cfg.tokenizer_prepends_bos = checkpoint.prepends_bos
        adapter.cfg.default_prepend_bos = checkpoint.prepends_bos
        adapter.cfg.tokenizer_appends_eos = checkpoint.appends_eos
        plain_forward = PlainForward(hf_model)
        adapter.prepare_model(hf_model)
        with no_init_weights():  # for fused projections it makes layers, and would fill them first
            super().__init__(hf_model, adapter, checkpoint.tokenizer)
        for part in ("embed", "ln_final", "unembed"):
            component = self._modules.get(part)
            if isinstance(component, GeneralizedComponent) and component.original_component is None:
                raise ValueError(f"it has no {part}, which every forward pass of its bridge needs")
        plain_forward.bind(self)
        self.plain_forward = plain_forward

    @property
    def unit_tokenizer(self) -> UnitTokenizer:
        """What turns sound into this model's units.

        Raises:
            AttributeError: none is known, so that ``hasattr`` tells.
        """
        if self._source.unit_tokenizer is None:
            raise AttributeError(
                f"HookedSLM: {self._source.name} has no unit tokenizer, expected one to "
                "turn sound into units. Give it: slm_lens.load(..., unit_tokenizer=...), or put "
                "unit_tokenizer.json beside the weights."
            )
        return self._source.unit_tokenizer

    @property
    def provenance(self) -> Provenance:
        """What the numbers of its hooked forward depend on now, e.g. dtype, compatibility mode."""
        hf_model = cast(PreTrainedModel, self.original_model)
        return Provenance(
            name=self._source.name,
            family=self._source.family,
            architecture=type(hf_model).__name__,
            dtype=str(next(self.parameters()).dtype).removeprefix("torch."),
            attention=str(hf_model.config._attn_implementation),
            adapter=self._source.adapter,
            compatibility_mode=self.compatibility_mode,
            weights_processed=self._weights_processed,
            random_weights_seed=self.random_weights_seed,
            hooks=tuple(sorted({str(h.name) for h in self.hook_dict.values() if h.fwd_hooks})),
        )

    def enable_compatibility_mode(self, *args: Any, **kwargs: Any) -> None:
        """Fold and centre the weights, as `TransformerBridge.enable_compatibility_mode` does.

        Args:
            *args: as there.
            **kwargs: as there; ``no_processing=True`` changes names only.

        Raises:
            ValueError: the model has a live adapter, which folding would leave out.
        """
        adapter = self._source.adapter
        if adapter is not None and adapter.endswith("(live)"):
            raise ValueError(
                f"enable_compatibility_mode: {self._source.name} has the live adapter {adapter}, "
                "which folding the weights would leave out; expected merged weights. Load it with "
                "merge_adapter=True."
            )
        super().enable_compatibility_mode(*args, **kwargs)

    def to_str_tokens(
        self,
        input: str | list | Int[Tensor, "..."] | Int[np.ndarray, "..."],
        prepend_bos: bool | None = None,
        padding_side: str | None = None,
    ) -> list[str] | list[list[str]]:
        """Names of tokens, as `TransformerBridge.to_str_tokens`, but never empty.

        Units, markers and unused rows have a name; a text token that starts a word keeps its
        space with every kind of tokenizer.

        Args:
            input: text, token ids of one sequence, or a list of such.
            prepend_bos: for text, whether to put the tokenizer's bos token first.
            padding_side: for text, where to pad.

        Returns:
            One name for each token; a list of lists for a list.

        Raises:
            ValueError: `input` holds token ids of more than one sequence.
        """
        if isinstance(input, list):
            rows = [self.to_str_tokens(row, prepend_bos, padding_side) for row in input]
            return cast(list[list[str]], rows)
        if isinstance(input, str):
            ids = self.to_tokens(input, prepend_bos=prepend_bos, padding_side=padding_side)[0]
        else:
            ids = torch.as_tensor(input).squeeze()
        if ids.ndim > 1:
            raise ValueError(
                f"to_str_tokens: got token ids of shape {tuple(ids.shape)}, expected one "
                "sequence. Give a list of sequences, e.g. list(tokens)."
            )
        return [self.vocab.label(i) for i in ids.reshape(-1).tolist()]

    def to_tokens(
        self,
        input: str | list[str],
        prepend_bos: bool | None = None,
        padding_side: str | None = None,
        move_to_device: bool = True,
        truncate: bool = True,
    ) -> Int[Tensor, "batch pos"]:
        """Token ids of text, as `TransformerBridge.to_tokens`.

        Args:
            input: text, or several.
            prepend_bos: whether to put the bos token first; None as the tokenizer does by itself.
            padding_side: where to pad.
            move_to_device: put the ids on the model's device.
            truncate: cut text that is longer than the model's context.

        Returns:
            Token ids.

        Raises:
            ValueError: the model has no text tokenizer.
        """  # noqa: DOC502 (raised by _check_tokenizer)
        self._check_tokenizer("to_tokens")
        return super().to_tokens(input, prepend_bos, padding_side, move_to_device, truncate)

    def to_string(
        self, tokens: list[int] | Int[Tensor, "..."] | Int[np.ndarray, "..."]
    ) -> str | list[str]:
        """Text of token ids, as `TransformerBridge.to_string`.

        Args:
            tokens: token ids of one sequence, or of a batch.

        Returns:
            Text of each sequence.

        Raises:
            ValueError: the model has no text tokenizer.
        """  # noqa: DOC502 (raised by _check_tokenizer)
        self._check_tokenizer("to_string")
        return super().to_string(tokens)

    def _check_tokenizer(self, method: str) -> None:
        if self.tokenizer is None:
            raise ValueError(
                f"{method}: {self._source.name} has no text tokenizer, expected one. A unit-only "
                "model reads speech: sequence_from_units. to_str_tokens names its token ids."
            )

    def sequence_from_units(
        self,
        units: SpeechUnits,
        alignment: Alignment | None = None,
        *,
        continue_in: Modality | None = None,
        chat: bool = False,
    ) -> SpeechTextSequence:
        """A spoken prompt as this model expects it; see `SpeechTextSequence.from_speech`.

        Args:
            units: units of the clip; for a model of several speech streams all of them by name.
            alignment: its words with times, if known.
            continue_in: None for a whole utterance; ``"speech"`` or ``"text"`` for a prompt that
                the model is to continue in that modality.
            chat: put the clip into the turn of a user, with the model's answer to follow.

        Returns:
            The sequence.

        Raises:
            TypeError: `units` are no units.
            ValueError: their frame rate, or whether they are deduplicated, is not the model's.
        """  # noqa: DOC502 (raised by check_units)
        check_units(units, self.vocab_spec)
        return spoken_prompt(
            units, alignment, self.vocab, self.prompt_format, continue_in=continue_in, chat=chat
        )

    def sequence_from_audio(
        self,
        path: str | Path,
        alignment: Alignment | None = None,
        *,
        continue_in: Modality | None = None,
        chat: bool = False,
    ) -> SpeechTextSequence:
        """A spoken prompt from a sound file, through this model's unit tokenizer.

        Args:
            path: a sound file of any rate and number of channels.
            alignment: its words with times, if known.
            continue_in: as in `sequence_from_units`.
            chat: as in `sequence_from_units`.

        Returns:
            The sequence.
        """
        from slm_lens.speech.audio import read_audio

        tokenizer = self.unit_tokenizer
        units = tokenizer.encode(read_audio(path, sample_rate_hz=tokenizer.sample_rate_hz))
        return self.sequence_from_units(units, alignment, continue_in=continue_in, chat=chat)

    def sequence_from_text(
        self, text: str, *, continue_in: Modality | None = None, chat: bool = False
    ) -> SpeechTextSequence:
        """A written prompt as this model expects it; see `SpeechTextSequence.from_text`.

        Args:
            text: words with spaces between them.
            continue_in: as in `sequence_from_units`.
            chat: as in `sequence_from_units`.

        Returns:
            The sequence.

        Raises:
            VocabError: the model has no text tokens.
            TypeError: `text` is no text.
            ValueError: there is no word in it.
        """  # noqa: DOC502 (raised by require_text and written_prompt)
        self.vocab.require_text("sequence_from_text", self.provenance.model_and_family)
        return written_prompt(
            text, self.vocab, self.prompt_format, continue_in=continue_in, chat=chat
        )

    def sequence_interleaved(
        self,
        units: SpeechUnits,
        alignment: Alignment,
        *,
        spoken: Sequence[bool],
        continue_in: Modality | None = None,
    ) -> SpeechTextSequence:
        """Some words spoken, the others written; see `SpeechTextSequence.interleave`.

        Args:
            units: as in `sequence_from_units`.
            alignment: the words of the clip with times.
            spoken: for each word, True to take it as units and False to write it.
            continue_in: as in `sequence_from_units`.

        Returns:
            The sequence.

        Raises:
            TypeError: `units` are no units.
            ValueError: their frame rate, or whether they are deduplicated, is not the model's.
        """  # noqa: DOC502 (raised by check_units)
        check_units(units, self.vocab_spec)
        return interleaved_prompt(
            units, alignment, self.vocab, self.prompt_format, spoken=spoken, continue_in=continue_in
        )
