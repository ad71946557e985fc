"""What a family's loader hands over: the weights, and what the tokens mean."""

from dataclasses import dataclass

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from slm_lens.families.prompt import PromptFormat
from slm_lens.families.vocab_spec import VocabSpec
from slm_lens.vocab import SpeechTextVocab, WordPolicy


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A loaded model before it gets hooks.

    Attributes:
        hf_model: the bare Hugging Face language model, in evaluation mode.
        tokenizer: text tokenizer that also knows units and markers; None for a family that has
            units alone.
        prepends_bos: whether the tokenizer puts a token before every text by itself. Apart from
            the prompt format: prompts may begin with tokens that no tokenizer puts there.
        appends_eos: whether the tokenizer puts a token after every text by itself.
        vocab: partition of the embedding's rows.
        prompt_format: how prompts are written.
        family: name of the family whose layout it has.
        spec: the description that vocabulary and prompt format were made from; None if they were
            put together by hand.
        word_policy: which tokens count as a word in this family, if nothing else is asked for.
        adapter: the adapter on top, as `Provenance.adapter`; None without one.
    """

    hf_model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    prepends_bos: bool
    appends_eos: bool
    vocab: SpeechTextVocab
    prompt_format: PromptFormat
    family: str
    spec: VocabSpec | None = None
    word_policy: WordPolicy = "whole_word"
    adapter: str | None = None
