"""Mechanistic interpretability of interleaved speech-text language models.

```python
import slm_lens

model = slm_lens.load("organism")  # a TransformerLens model
```

Names are imported when they are first used, so that ``import slm_lens`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from slm_lens import _pictured

if TYPE_CHECKING:
    from slm_lens.corpus.cached_activations import CachedActivations
    from slm_lens.corpus.data_config import DataConfig
    from slm_lens.corpus.dataset import Dataset, ItemKey, Limits
    from slm_lens.corpus.folder import clips_of, read_utterances
    from slm_lens.corpus.items import Item, PairItem, TrialItem
    from slm_lens.corpus.kind_options import (
        CacheOptions,
        PatchOptions,
        PhasesOptions,
        ScoreOptions,
        TraceOptions,
    )
    from slm_lens.corpus.open_run import CorpusRun, open_run
    from slm_lens.corpus.pairs import read_pairs
    from slm_lens.corpus.run import run_corpus
    from slm_lens.corpus.run_config import (
        EngineConfig,
        ModelConfig,
        RunConfig,
        read_run_config,
    )
    from slm_lens.errors import AlignmentError, AudioError, RunError, SlmLensError, VocabError
    from slm_lens.families.family import Family
    from slm_lens.families.files import CheckpointFiles
    from slm_lens.families.prompt import PromptFormat, Turn
    from slm_lens.families.registry import families_by_name
    from slm_lens.families.specimen import specimen_files
    from slm_lens.families.vocab_spec import ChatSpec, StreamSpec, VocabSpec, read_vocab_spec
    from slm_lens.interventions.ablation.ablate_words import ablate_words
    from slm_lens.interventions.ablation.projection import Projection, ablated, projected_out
    from slm_lens.interventions.ablation.word_ablation import WordAblation
    from slm_lens.interventions.attribution.circuits import Faithfulness, faithfulness
    from slm_lens.interventions.attribution.direct import attribute_directly
    from slm_lens.interventions.attribution.direct_result import DirectAttribution
    from slm_lens.interventions.attribution.edge_result import EdgeAttribution
    from slm_lens.interventions.attribution.edges import attribute_edges
    from slm_lens.interventions.attribution.graph import (
        ResidualGraph,
        StreamReader,
        StreamWriter,
        residual_graph,
    )
    from slm_lens.interventions.attribution.logit_directions import (
        LogitDirection,
        logit_of_modality,
        logit_of_tokens,
        logit_of_unit,
    )
    from slm_lens.interventions.attribution.node_result import NodeAttribution
    from slm_lens.interventions.attribution.nodes import attribute_nodes
    from slm_lens.interventions.attribution.path_patching import PathEffects, patch_paths
    from slm_lens.interventions.changing import Change, changed, patched
    from slm_lens.interventions.directions import (
        Contrast,
        contrast,
        modality_direction,
        orthonormal,
        random_directions,
        text_subspace,
        word_directions,
    )
    from slm_lens.interventions.heads.head_ablation import HeadAblation, ablate_heads
    from slm_lens.interventions.heads.head_roles import HeadRoles, head_roles
    from slm_lens.interventions.metrics import (
        Metric,
        answer_probability,
        answer_rank,
        divergence,
        log_prob,
        logit_difference,
        modality_mass,
        next_unit_log_prob,
    )
    from slm_lens.interventions.pairs.answers import answer_and_foil
    from slm_lens.interventions.pairs.matching import SpanMatch, match_runs
    from slm_lens.interventions.pairs.run_pair import RunPair, pair_of_tokens
    from slm_lens.interventions.patching.patch_pairs import patch_pairs
    from slm_lens.interventions.patching.patching_result import Patching
    from slm_lens.interventions.runs.measured_run import MeasuredRun
    from slm_lens.interventions.runs.patched_runs import Patch, PatchedRuns
    from slm_lens.interventions.site import Site, sites
    from slm_lens.interventions.steering.dose_response import DoseResponse, dose_response
    from slm_lens.interventions.steering.perception_vector import (
        PerceptionVector,
        perception_vector,
    )
    from slm_lens.interventions.steering.steered import Steering, linear_decay, steered
    from slm_lens.interventions.steering.steered_generation import (
        SteeredGeneration,
        generate_steered,
    )
    from slm_lens.interventions.tracing.causal_trace import causal_trace
    from slm_lens.interventions.tracing.traced_subjects import subject_noise, subject_runs
    from slm_lens.interventions.tracing.tracing_result import Tracing
    from slm_lens.lens.affinity import Affinity, affinity, lag
    from slm_lens.lens.components import ComponentStack, component_stack
    from slm_lens.lens.fit import fit_tuned_lens, lens_divergence
    from slm_lens.lens.fit_settings import FitSettings
    from slm_lens.lens.grid_files import read_lens_grids, write_lens_grids
    from slm_lens.lens.grid_result import GridCells, LensGrid
    from slm_lens.lens.jacobian import jacobian_lens, to_transformer_lens
    from slm_lens.lens.lens_facts import TunedLensFacts
    from slm_lens.lens.lens_grid import lens_grid
    from slm_lens.lens.logit_lens import LogitLens
    from slm_lens.lens.middle_layers import middle_divergence
    from slm_lens.lens.states import residual_stack
    from slm_lens.lens.tuned_lens import TunedLens, load_tuned_lens, unembedding_hash
    from slm_lens.lens.word_lens import WordLens, read_word_lens, word_lens
    from slm_lens.likelihood.joining import Joined, join_segments, join_speech
    from slm_lens.likelihood.score_trials import score_trials
    from slm_lens.likelihood.sequence_log_probs import SequenceLogProbs, sequence_log_probs
    from slm_lens.likelihood.trial import Trial
    from slm_lens.likelihood.trial_scores import TrialScores
    from slm_lens.model.convert import convert_checkpoint
    from slm_lens.model.describe import describe_model
    from slm_lens.model.hooked import HookedSLM
    from slm_lens.model.load import load
    from slm_lens.model.provenance import Provenance
    from slm_lens.organism.language import RELATIONS
    from slm_lens.organism.pairs import FactPairs, organism_pairs
    from slm_lens.phases.crossed_bootstrap import crossed_interval
    from slm_lens.phases.measure import measure_phases
    from slm_lens.phases.random_weights import random_weights
    from slm_lens.phases.result import LayerEstimate, Phases, read_phases
    from slm_lens.readout.wanted import Readout, TopK
    from slm_lens.report.html_report import report_run
    from slm_lens.report.phase_report import report_phases
    from slm_lens.report.study_page import report_study
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
    from slm_lens.studies.exploration import ClipAudio, Exploration
    from slm_lens.studies.explore import explore
    from slm_lens.studies.phase_study import PhaseStudy, study_phases
    from slm_lens.studies.run_study import run_study
    from slm_lens.studies.steer_pairs import steer_pairs
    from slm_lens.studies.steer_prompt import SteeredPrompt, steer_prompt
    from slm_lens.studies.study_result import StudyResult, StudyTable, read_study
    from slm_lens.views.activations import activations
    from slm_lens.views.attention import attention_heads
    from slm_lens.views.attribution_figure import edges_figure, nodes_figure
    from slm_lens.views.chart import Chart, save_figure
    from slm_lens.views.coloured_tokens import ablated_tokens, attributed_tokens, coloured_tokens
    from slm_lens.views.dose_figure import dose_figure
    from slm_lens.views.effects_figure import effects_curves, effects_heat_map, word_ablation_figure
    from slm_lens.views.exploration import exploration_page
    from slm_lens.views.explorer import explorer_view
    from slm_lens.views.head_roles_figure import head_roles_figure
    from slm_lens.views.lens_figure import lens_figure
    from slm_lens.views.lens_grid import lens_grid_view
    from slm_lens.views.lens_grid_figure import lens_grid_figure
    from slm_lens.views.modality_figure import modality_figure
    from slm_lens.views.models_figure import models_figure
    from slm_lens.views.of_results import chart_of
    from slm_lens.views.page import Page, PageText, View
    from slm_lens.views.patching_map import patching_map
    from slm_lens.views.phases_figure import phases_figure
    from slm_lens.views.ranks_figure import ranks_figure, word_ranks_figure
    from slm_lens.views.speech_tokens import speech_tokens
    from slm_lens.views.study_figures import study_figures
    from slm_lens.views.style import Style
    from slm_lens.views.sweeps_figure import patching_figure, tracing_figure
    from slm_lens.views.table import table_view
    from slm_lens.views.top_tokens import top_tokens
    from slm_lens.views.waveform import waveform_view
    from slm_lens.vocab import SpeechTextVocab

_MODULE_OF = {
    "Affinity": "lens.affinity",
    "AlignedWord": "speech.alignment",
    "Alignment": "speech.alignment",
    "AlignmentError": "errors",
    "AudioError": "errors",
    "CacheOptions": "corpus.kind_options",
    "CachedActivations": "corpus.cached_activations",
    "Change": "interventions.changing",
    "Chart": "views.chart",
    "ChatSpec": "families.vocab_spec",
    "CheckpointFiles": "families.files",
    "ClipAudio": "studies.exploration",
    "ComponentStack": "lens.components",
    "Contrast": "interventions.directions",
    "CorpusRun": "corpus.open_run",
    "DataConfig": "corpus.data_config",
    "Dataset": "corpus.dataset",
    "DirectAttribution": "interventions.attribution.direct_result",
    "DoseResponse": "interventions.steering.dose_response",
    "ENGLISH_FUNCTION_WORDS": "sequence.function_words",
    "EdgeAttribution": "interventions.attribution.edge_result",
    "EngineConfig": "corpus.run_config",
    "Exploration": "studies.exploration",
    "FactPairs": "organism.pairs",
    "Faithfulness": "interventions.attribution.circuits",
    "Family": "families.family",
    "FitSettings": "lens.fit_settings",
    "GridCells": "lens.grid_result",
    "HeadAblation": "interventions.heads.head_ablation",
    "HeadRoles": "interventions.heads.head_roles",
    "HookedSLM": "model.hooked",
    "HubertKMeans": "speech.hubert",
    "Item": "corpus.items",
    "ItemKey": "corpus.dataset",
    "Joined": "likelihood.joining",
    "LayerEstimate": "phases.result",
    "LensGrid": "lens.grid_result",
    "Limits": "corpus.dataset",
    "LogitDirection": "interventions.attribution.logit_directions",
    "LogitLens": "lens.logit_lens",
    "MeasuredRun": "interventions.runs.measured_run",
    "Metric": "interventions.metrics",
    "MfccKMeans": "speech.mfcc",
    "MimiCodes": "speech.mimi",
    "ModelConfig": "corpus.run_config",
    "NodeAttribution": "interventions.attribution.node_result",
    "Page": "views.page",
    "PageText": "views.page",
    "PairItem": "corpus.items",
    "Patch": "interventions.runs.patched_runs",
    "PatchOptions": "corpus.kind_options",
    "PatchedRuns": "interventions.runs.patched_runs",
    "Patching": "interventions.patching.patching_result",
    "PathEffects": "interventions.attribution.path_patching",
    "PerceptionVector": "interventions.steering.perception_vector",
    "PhaseStudy": "studies.phase_study",
    "Phases": "phases.result",
    "PhasesOptions": "corpus.kind_options",
    "Projection": "interventions.ablation.projection",
    "PromptFormat": "families.prompt",
    "Provenance": "model.provenance",
    "RELATIONS": "organism.language",
    "Readout": "readout.wanted",
    "ResidualGraph": "interventions.attribution.graph",
    "RunConfig": "corpus.run_config",
    "RunError": "errors",
    "RunPair": "interventions.pairs.run_pair",
    "ScoreOptions": "corpus.kind_options",
    "SequenceBatch": "sequence.batch",
    "SequenceLogProbs": "likelihood.sequence_log_probs",
    "Site": "interventions.site",
    "SlmLensError": "errors",
    "SpanMatch": "interventions.pairs.matching",
    "SpeechTextSequence": "sequence.sequence",
    "SpeechTextVocab": "vocab",
    "SteeredGeneration": "interventions.steering.steered_generation",
    "SteeredPrompt": "studies.steer_prompt",
    "Steering": "interventions.steering.steered",
    "StreamReader": "interventions.attribution.graph",
    "StreamSpec": "families.vocab_spec",
    "StreamWriter": "interventions.attribution.graph",
    "StudyResult": "studies.study_result",
    "StudyTable": "studies.study_result",
    "Style": "views.style",
    "TopK": "readout.wanted",
    "TraceOptions": "corpus.kind_options",
    "Tracing": "interventions.tracing.tracing_result",
    "Trial": "likelihood.trial",
    "TrialItem": "corpus.items",
    "TrialScores": "likelihood.trial_scores",
    "TunedLens": "lens.tuned_lens",
    "TunedLensFacts": "lens.lens_facts",
    "Turn": "families.prompt",
    "UnitTokenizer": "speech.units",
    "Units": "speech.units",
    "Utterance": "sequence.utterance",
    "View": "views.page",
    "VocabError": "errors",
    "VocabSpec": "families.vocab_spec",
    "WordAblation": "interventions.ablation.word_ablation",
    "WordLens": "lens.word_lens",
    "WordSpan": "sequence.word_span",
    "ablate_heads": "interventions.heads.head_ablation",
    "ablate_words": "interventions.ablation.ablate_words",
    "ablated": "interventions.ablation.projection",
    "ablated_tokens": "views.coloured_tokens",
    "activations": "views.activations",
    "affinity": "lens.affinity",
    "answer_and_foil": "interventions.pairs.answers",
    "answer_probability": "interventions.metrics",
    "answer_rank": "interventions.metrics",
    "attention_heads": "views.attention",
    "attribute_directly": "interventions.attribution.direct",
    "attribute_edges": "interventions.attribution.edges",
    "attribute_nodes": "interventions.attribution.nodes",
    "attributed_tokens": "views.coloured_tokens",
    "causal_trace": "interventions.tracing.causal_trace",
    "changed": "interventions.changing",
    "chart_of": "views.of_results",
    "clips_of": "corpus.folder",
    "coloured_tokens": "views.coloured_tokens",
    "component_stack": "lens.components",
    "contrast": "interventions.directions",
    "convert_checkpoint": "model.convert",
    "convert_kmeans": "speech.convert",
    "crossed_interval": "phases.crossed_bootstrap",
    "deduplicate": "speech.units",
    "describe_model": "model.describe",
    "divergence": "interventions.metrics",
    "dose_figure": "views.dose_figure",
    "dose_response": "interventions.steering.dose_response",
    "edges_figure": "views.attribution_figure",
    "effects_curves": "views.effects_figure",
    "effects_heat_map": "views.effects_figure",
    "exploration_page": "views.exploration",
    "explore": "studies.explore",
    "explorer_view": "views.explorer",
    "faithfulness": "interventions.attribution.circuits",
    "families_by_name": "families.registry",
    "fit_tuned_lens": "lens.fit",
    "generate_steered": "interventions.steering.steered_generation",
    "head_roles": "interventions.heads.head_roles",
    "head_roles_figure": "views.head_roles_figure",
    "jacobian_lens": "lens.jacobian",
    "join_segments": "likelihood.joining",
    "join_speech": "likelihood.joining",
    "lag": "lens.affinity",
    "lens_divergence": "lens.fit",
    "lens_figure": "views.lens_figure",
    "lens_grid": "lens.lens_grid",
    "lens_grid_figure": "views.lens_grid_figure",
    "lens_grid_view": "views.lens_grid",
    "linear_decay": "interventions.steering.steered",
    "load": "model.load",
    "load_tuned_lens": "lens.tuned_lens",
    "load_unit_tokenizer": "speech.unit_tokenizers",
    "log_prob": "interventions.metrics",
    "logit_difference": "interventions.metrics",
    "logit_of_modality": "interventions.attribution.logit_directions",
    "logit_of_tokens": "interventions.attribution.logit_directions",
    "logit_of_unit": "interventions.attribution.logit_directions",
    "match_runs": "interventions.pairs.matching",
    "measure_phases": "phases.measure",
    "middle_divergence": "lens.middle_layers",
    "modality_direction": "interventions.directions",
    "modality_figure": "views.modality_figure",
    "modality_mass": "interventions.metrics",
    "models_figure": "views.models_figure",
    "next_unit_log_prob": "interventions.metrics",
    "nodes_figure": "views.attribution_figure",
    "open_run": "corpus.open_run",
    "organism_pairs": "organism.pairs",
    "orthonormal": "interventions.directions",
    "pad_batch": "sequence.batch",
    "pair_of_tokens": "interventions.pairs.run_pair",
    "patch_pairs": "interventions.patching.patch_pairs",
    "patch_paths": "interventions.attribution.path_patching",
    "patched": "interventions.changing",
    "patching_figure": "views.sweeps_figure",
    "patching_map": "views.patching_map",
    "perception_vector": "interventions.steering.perception_vector",
    "phases_figure": "views.phases_figure",
    "projected_out": "interventions.ablation.projection",
    "random_directions": "interventions.directions",
    "random_weights": "phases.random_weights",
    "ranks_figure": "views.ranks_figure",
    "read_alignment": "speech.alignment_files",
    "read_audio": "speech.audio",
    "read_lens_grids": "lens.grid_files",
    "read_pairs": "corpus.pairs",
    "read_phases": "phases.result",
    "read_run_config": "corpus.run_config",
    "read_study": "studies.study_result",
    "read_utterances": "corpus.folder",
    "read_vocab_spec": "families.vocab_spec",
    "read_word_lens": "lens.word_lens",
    "report_phases": "report.phase_report",
    "report_run": "report.html_report",
    "report_study": "report.study_page",
    "residual_graph": "interventions.attribution.graph",
    "residual_stack": "lens.states",
    "run_corpus": "corpus.run",
    "run_study": "studies.run_study",
    "save_figure": "views.chart",
    "score_trials": "likelihood.score_trials",
    "select_spoken_words": "sequence.spans",
    "sequence_log_probs": "likelihood.sequence_log_probs",
    "sites": "interventions.site",
    "specimen_files": "families.specimen",
    "speech_tokens": "views.speech_tokens",
    "steer_pairs": "studies.steer_pairs",
    "steer_prompt": "studies.steer_prompt",
    "steered": "interventions.steering.steered",
    "study_figures": "views.study_figures",
    "study_phases": "studies.phase_study",
    "subject_noise": "interventions.tracing.traced_subjects",
    "subject_runs": "interventions.tracing.traced_subjects",
    "table_view": "views.table",
    "text_subspace": "interventions.directions",
    "to_transformer_lens": "lens.jacobian",
    "top_tokens": "views.top_tokens",
    "tracing_figure": "views.sweeps_figure",
    "unembedding_hash": "lens.tuned_lens",
    "waveform_view": "views.waveform",
    "word_ablation_figure": "views.effects_figure",
    "word_directions": "interventions.directions",
    "word_lens": "lens.word_lens",
    "word_ranks_figure": "views.ranks_figure",
    "word_unit_spans": "sequence.spans",
    "write_alignment": "speech.alignment_files",
    "write_lens_grids": "lens.grid_files",
}

__all__ = [
    "ENGLISH_FUNCTION_WORDS",
    "RELATIONS",
    "Affinity",
    "AlignedWord",
    "Alignment",
    "AlignmentError",
    "AudioError",
    "CacheOptions",
    "CachedActivations",
    "Change",
    "Chart",
    "ChatSpec",
    "CheckpointFiles",
    "ClipAudio",
    "ComponentStack",
    "Contrast",
    "CorpusRun",
    "DataConfig",
    "Dataset",
    "DirectAttribution",
    "DoseResponse",
    "EdgeAttribution",
    "EngineConfig",
    "Exploration",
    "FactPairs",
    "Faithfulness",
    "Family",
    "FitSettings",
    "GridCells",
    "HeadAblation",
    "HeadRoles",
    "HookedSLM",
    "HubertKMeans",
    "Item",
    "ItemKey",
    "Joined",
    "LayerEstimate",
    "LensGrid",
    "Limits",
    "LogitDirection",
    "LogitLens",
    "MeasuredRun",
    "Metric",
    "MfccKMeans",
    "MimiCodes",
    "ModelConfig",
    "NodeAttribution",
    "Page",
    "PageText",
    "PairItem",
    "Patch",
    "PatchOptions",
    "PatchedRuns",
    "Patching",
    "PathEffects",
    "PerceptionVector",
    "PhaseStudy",
    "Phases",
    "PhasesOptions",
    "Projection",
    "PromptFormat",
    "Provenance",
    "Readout",
    "ResidualGraph",
    "RunConfig",
    "RunError",
    "RunPair",
    "ScoreOptions",
    "SequenceBatch",
    "SequenceLogProbs",
    "Site",
    "SlmLensError",
    "SpanMatch",
    "SpeechTextSequence",
    "SpeechTextVocab",
    "SteeredGeneration",
    "SteeredPrompt",
    "Steering",
    "StreamReader",
    "StreamSpec",
    "StreamWriter",
    "StudyResult",
    "StudyTable",
    "Style",
    "TopK",
    "TraceOptions",
    "Tracing",
    "Trial",
    "TrialItem",
    "TrialScores",
    "TunedLens",
    "TunedLensFacts",
    "Turn",
    "UnitTokenizer",
    "Units",
    "Utterance",
    "View",
    "VocabError",
    "VocabSpec",
    "WordAblation",
    "WordLens",
    "WordSpan",
    "ablate_heads",
    "ablate_words",
    "ablated",
    "ablated_tokens",
    "activations",
    "affinity",
    "answer_and_foil",
    "answer_probability",
    "answer_rank",
    "attention_heads",
    "attribute_directly",
    "attribute_edges",
    "attribute_nodes",
    "attributed_tokens",
    "causal_trace",
    "changed",
    "chart_of",
    "clips_of",
    "coloured_tokens",
    "component_stack",
    "contrast",
    "convert_checkpoint",
    "convert_kmeans",
    "crossed_interval",
    "deduplicate",
    "describe_model",
    "divergence",
    "dose_figure",
    "dose_response",
    "edges_figure",
    "effects_curves",
    "effects_heat_map",
    "exploration_page",
    "explore",
    "explorer_view",
    "faithfulness",
    "families_by_name",
    "fit_tuned_lens",
    "generate_steered",
    "head_roles",
    "head_roles_figure",
    "jacobian_lens",
    "join_segments",
    "join_speech",
    "lag",
    "lens_divergence",
    "lens_figure",
    "lens_grid",
    "lens_grid_figure",
    "lens_grid_view",
    "linear_decay",
    "load",
    "load_tuned_lens",
    "load_unit_tokenizer",
    "log_prob",
    "logit_difference",
    "logit_of_modality",
    "logit_of_tokens",
    "logit_of_unit",
    "match_runs",
    "measure_phases",
    "middle_divergence",
    "modality_direction",
    "modality_figure",
    "modality_mass",
    "models_figure",
    "next_unit_log_prob",
    "nodes_figure",
    "open_run",
    "organism_pairs",
    "orthonormal",
    "pad_batch",
    "pair_of_tokens",
    "patch_pairs",
    "patch_paths",
    "patched",
    "patching_figure",
    "patching_map",
    "perception_vector",
    "phases_figure",
    "projected_out",
    "random_directions",
    "random_weights",
    "ranks_figure",
    "read_alignment",
    "read_audio",
    "read_lens_grids",
    "read_pairs",
    "read_phases",
    "read_run_config",
    "read_study",
    "read_utterances",
    "read_vocab_spec",
    "read_word_lens",
    "report_phases",
    "report_run",
    "report_study",
    "residual_graph",
    "residual_stack",
    "run_corpus",
    "run_study",
    "save_figure",
    "score_trials",
    "select_spoken_words",
    "sequence_log_probs",
    "sites",
    "specimen_files",
    "speech_tokens",
    "steer_pairs",
    "steer_prompt",
    "steered",
    "study_figures",
    "study_phases",
    "subject_noise",
    "subject_runs",
    "table_view",
    "text_subspace",
    "to_transformer_lens",
    "top_tokens",
    "tracing_figure",
    "unembedding_hash",
    "waveform_view",
    "word_ablation_figure",
    "word_directions",
    "word_lens",
    "word_ranks_figure",
    "word_unit_spans",
    "write_alignment",
    "write_lens_grids",
]


# Results show themselves in notebooks; what draws them is imported when the first one does.
_pictured.draw_with(
    lambda result: import_module("slm_lens.views.of_results").shown_as(result)._repr_html_()
)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'slm_lens' has no attribute {name!r}; it has {__all__}.")
    return getattr(import_module(f"slm_lens.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
