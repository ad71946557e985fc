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
    from slm_lens.corpus.folder import clips_of, read_utterances
    from slm_lens.corpus.pairs import read_pairs
    from slm_lens.errors import AlignmentError, AudioError, SlmLensError, VocabError
    from slm_lens.families.family import Family
    from slm_lens.families.files import CheckpointFiles
    from slm_lens.families.prompt import PromptFormat, Turn
    from slm_lens.families.registry import families_by_name
    from slm_lens.families.specimen import specimen_files
    from slm_lens.families.vocab_spec import ChatSpec, StreamSpec, VocabSpec, read_vocab_spec
    from slm_lens.interventions.answers import answer_and_foil
    from slm_lens.interventions.matching import SpanMatch, match_runs
    from slm_lens.interventions.pairs import RunPair
    from slm_lens.lens.components import ComponentStack, component_stack
    from slm_lens.lens.fit import fit_tuned_lens, lens_divergence
    from slm_lens.lens.fit_settings import FitSettings
    from slm_lens.lens.jacobian import jacobian_lens, to_transformer_lens
    from slm_lens.lens.lens_facts import TunedLensFacts
    from slm_lens.lens.logit_lens import LogitLens
    from slm_lens.lens.middle_layers import middle_divergence
    from slm_lens.lens.states import residual_stack
    from slm_lens.lens.tuned_lens import TunedLens, load_tuned_lens, unembedding_hash
    from slm_lens.lens.word_lens import WordLens, read_word_lens, word_lens
    from slm_lens.model.convert import convert_checkpoint
    from slm_lens.model.describe import describe_model
    from slm_lens.model.hooked import HookedSLM
    from slm_lens.model.load import load
    from slm_lens.model.provenance import Provenance
    from slm_lens.organism.pairs import FactPairs, organism_pairs
    from slm_lens.phases.measure import measure_phases
    from slm_lens.phases.random_weights import random_weights
    from slm_lens.phases.result import LayerEstimate, Phases, read_phases
    from slm_lens.readout.wanted import Readout, TopK
    from slm_lens.report.phase_report import report_phases
    from slm_lens.sequence.batch import SequenceBatch, pad_batch
    from slm_lens.sequence.function_words import ENGLISH_FUNCTION_WORDS
    from slm_lens.sequence.sequence import SpeechTextSequence
    from slm_lens.sequence.spans import select_spoken_words, word_unit_spans
    from slm_lens.sequence.utterance import Utterance
    from slm_lens.sequence.word_span import WordSpan
    from slm_lens.speech.alignment import AlignedWord, Alignment
    from slm_lens.speech.alignment_files import read_alignment, write_alignment
    from slm_lens.speech.audio import read_audio
    from slm_lens.speech.convert import convert_kmeans
    from slm_lens.speech.hubert import HubertKMeans
    from slm_lens.speech.mfcc import MfccKMeans
    from slm_lens.speech.mimi import MimiCodes
    from slm_lens.speech.unit_tokenizers import load_unit_tokenizer
    from slm_lens.speech.units import Units, UnitTokenizer, deduplicate
    from slm_lens.studies.phase_study import PhaseStudy, study_phases
    from slm_lens.views.lens_figure import lens_figure
    from slm_lens.views.phases_figure import phases_figure, save_figure
    from slm_lens.vocab import SpeechTextVocab

_MODULE_OF = {
    "AlignedWord": "speech.alignment",
    "Alignment": "speech.alignment",
    "AlignmentError": "errors",
    "AudioError": "errors",
    "ChatSpec": "families.vocab_spec",
    "CheckpointFiles": "families.files",
    "ComponentStack": "lens.components",
    "ENGLISH_FUNCTION_WORDS": "sequence.function_words",
    "FactPairs": "organism.pairs",
    "Family": "families.family",
    "FitSettings": "lens.fit_settings",
    "HookedSLM": "model.hooked",
    "HubertKMeans": "speech.hubert",
    "LayerEstimate": "phases.result",
    "LogitLens": "lens.logit_lens",
    "MfccKMeans": "speech.mfcc",
    "MimiCodes": "speech.mimi",
    "PhaseStudy": "studies.phase_study",
    "Phases": "phases.result",
    "PromptFormat": "families.prompt",
    "Provenance": "model.provenance",
    "Readout": "readout.wanted",
    "RunPair": "interventions.pairs",
    "SequenceBatch": "sequence.batch",
    "SlmLensError": "errors",
    "SpanMatch": "interventions.matching",
    "SpeechTextSequence": "sequence.sequence",
    "SpeechTextVocab": "vocab",
    "StreamSpec": "families.vocab_spec",
    "TopK": "readout.wanted",
    "TunedLens": "lens.tuned_lens",
    "TunedLensFacts": "lens.lens_facts",
    "Turn": "families.prompt",
    "UnitTokenizer": "speech.units",
    "Units": "speech.units",
    "Utterance": "sequence.utterance",
    "VocabError": "errors",
    "VocabSpec": "families.vocab_spec",
    "WordLens": "lens.word_lens",
    "WordSpan": "sequence.word_span",
    "answer_and_foil": "interventions.answers",
    "clips_of": "corpus.folder",
    "component_stack": "lens.components",
    "convert_checkpoint": "model.convert",
    "convert_kmeans": "speech.convert",
    "deduplicate": "speech.units",
    "describe_model": "model.describe",
    "families_by_name": "families.registry",
    "fit_tuned_lens": "lens.fit",
    "jacobian_lens": "lens.jacobian",
    "lens_divergence": "lens.fit",
    "lens_figure": "views.lens_figure",
    "load": "model.load",
    "load_tuned_lens": "lens.tuned_lens",
    "load_unit_tokenizer": "speech.unit_tokenizers",
    "match_runs": "interventions.matching",
    "measure_phases": "phases.measure",
    "middle_divergence": "lens.middle_layers",
    "organism_pairs": "organism.pairs",
    "pad_batch": "sequence.batch",
    "phases_figure": "views.phases_figure",
    "random_weights": "phases.random_weights",
    "read_alignment": "speech.alignment_files",
    "read_audio": "speech.audio",
    "read_pairs": "corpus.pairs",
    "read_phases": "phases.result",
    "read_utterances": "corpus.folder",
    "read_vocab_spec": "families.vocab_spec",
    "read_word_lens": "lens.word_lens",
    "report_phases": "report.phase_report",
    "residual_stack": "lens.states",
    "save_figure": "views.phases_figure",
    "select_spoken_words": "sequence.spans",
    "specimen_files": "families.specimen",
    "study_phases": "studies.phase_study",
    "to_transformer_lens": "lens.jacobian",
    "unembedding_hash": "lens.tuned_lens",
    "word_lens": "lens.word_lens",
    "word_unit_spans": "sequence.spans",
    "write_alignment": "speech.alignment_files",
}

__all__ = [
    "ENGLISH_FUNCTION_WORDS",
    "AlignedWord",
    "Alignment",
    "AlignmentError",
    "AudioError",
    "ChatSpec",
    "CheckpointFiles",
    "ComponentStack",
    "FactPairs",
    "Family",
    "FitSettings",
    "HookedSLM",
    "HubertKMeans",
    "LayerEstimate",
    "LogitLens",
    "MfccKMeans",
    "MimiCodes",
    "PhaseStudy",
    "Phases",
    "PromptFormat",
    "Provenance",
    "Readout",
    "RunPair",
    "SequenceBatch",
    "SlmLensError",
    "SpanMatch",
    "SpeechTextSequence",
    "SpeechTextVocab",
    "StreamSpec",
    "TopK",
    "TunedLens",
    "TunedLensFacts",
    "Turn",
    "UnitTokenizer",
    "Units",
    "Utterance",
    "VocabError",
    "VocabSpec",
    "WordLens",
    "WordSpan",
    "answer_and_foil",
    "clips_of",
    "component_stack",
    "convert_checkpoint",
    "convert_kmeans",
    "deduplicate",
    "describe_model",
    "families_by_name",
    "fit_tuned_lens",
    "jacobian_lens",
    "lens_divergence",
    "lens_figure",
    "load",
    "load_tuned_lens",
    "load_unit_tokenizer",
    "match_runs",
    "measure_phases",
    "middle_divergence",
    "organism_pairs",
    "pad_batch",
    "phases_figure",
    "random_weights",
    "read_alignment",
    "read_audio",
    "read_pairs",
    "read_phases",
    "read_utterances",
    "read_vocab_spec",
    "read_word_lens",
    "report_phases",
    "residual_stack",
    "save_figure",
    "select_spoken_words",
    "specimen_files",
    "study_phases",
    "to_transformer_lens",
    "unembedding_hash",
    "word_lens",
    "word_unit_spans",
    "write_alignment",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'slm_lens' has no attribute {name!r}; it has {__all__}.")
    return getattr(import_module(f"slm_lens.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
