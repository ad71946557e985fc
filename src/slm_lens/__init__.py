"""Mechanistic interpretability of interleaved speech-text language models.

```python
import slm_lens

model = slm_lens.load("organism")  # a TransformerLens model
```

Names are imported when they are first used, so that ``import slm_lens`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slm_lens.errors import AlignmentError, AudioError, SlmLensError, VocabError
    from slm_lens.families.checkpoint import PromptFormat
    from slm_lens.model.hooked import HookedSLM, Provenance
    from slm_lens.model.load import load
    from slm_lens.sequence.batch import SequenceBatch, pad_batch
    from slm_lens.sequence.sequence import SpeechTextSequence, WordSpan
    from slm_lens.sequence.spans import select_spoken_words, word_unit_spans
    from slm_lens.speech.alignment import AlignedWord, Alignment
    from slm_lens.speech.units import Units, UnitTokenizer, deduplicate
    from slm_lens.vocab import SpeechTextVocab

_MODULE_OF = {
    "AlignedWord": "speech.alignment",
    "Alignment": "speech.alignment",
    "AlignmentError": "errors",
    "AudioError": "errors",
    "HookedSLM": "model.hooked",
    "PromptFormat": "families.checkpoint",
    "Provenance": "model.hooked",
    "SequenceBatch": "sequence.batch",
    "SlmLensError": "errors",
    "SpeechTextSequence": "sequence.sequence",
    "SpeechTextVocab": "vocab",
    "UnitTokenizer": "speech.units",
    "Units": "speech.units",
    "VocabError": "errors",
    "WordSpan": "sequence.sequence",
    "deduplicate": "speech.units",
    "load": "model.load",
    "pad_batch": "sequence.batch",
    "select_spoken_words": "sequence.spans",
    "word_unit_spans": "sequence.spans",
}

__all__ = [
    "AlignedWord",
    "Alignment",
    "AlignmentError",
    "AudioError",
    "HookedSLM",
    "PromptFormat",
    "Provenance",
    "SequenceBatch",
    "SlmLensError",
    "SpeechTextSequence",
    "SpeechTextVocab",
    "UnitTokenizer",
    "Units",
    "VocabError",
    "WordSpan",
    "deduplicate",
    "load",
    "pad_batch",
    "select_spoken_words",
    "word_unit_spans",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'slm_lens' has no attribute {name!r}; it has {__all__}.")
    return getattr(import_module(f"slm_lens.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
