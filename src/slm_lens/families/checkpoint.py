"""What a family's loader hands over: the weights, and what the tokens mean."""

from dataclasses import dataclass

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from slm_lens.vocab import SpeechTextVocab


@dataclass(frozen=True)
class PromptFormat:
    """How a model was taught to read a prompt.

    Attributes:
        speech_marker: token before a run of speech; None if the family has none.
        text_marker: token before a run of text; None if the family has none.
        mark_speech_only: whether a prompt of speech alone starts with the speech marker.
        mark_text_only: whether a prompt of text alone starts with the text marker.
        bos: token that the tokenizer puts first by itself; None if it puts none.
    """

    speech_marker: int | None
    text_marker: int | None
    mark_speech_only: bool
    mark_text_only: bool
    bos: int | None


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A loaded model before it gets hooks.

    Attributes:
        hf_model: the bare Hugging Face language model, in evaluation mode.
        tokenizer: text tokenizer that also knows units and markers; None for a vocabulary without
            text.
        appends_eos: whether the tokenizer puts a token after every text by itself.
        vocab: partition of the embedding's rows.
        prompt_format: how prompts are written.
        family: name of the family whose layout it has.
        adapter: the adapter on top, as `Provenance.adapter`; None without one.
    """

    hf_model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    appends_eos: bool
    vocab: SpeechTextVocab
    prompt_format: PromptFormat
    family: str
    adapter: str | None = None
