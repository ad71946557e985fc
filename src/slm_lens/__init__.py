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
    from slm_lens.corpus.run_config import EngineConfig, ModelConfig, RunConfig, read_run_config
    from slm_lens.errors import AlignmentError, AudioError, RunError, SlmLensError, VocabError
    from slm_lens.families.family import Family
    from slm_lens.families.files import CheckpointFiles
    from slm_lens.families.prompt import PromptFormat, Turn
    from slm_lens.families.registry import families_by_name
    from slm_lens.families.specimen import specimen_files
    from slm_lens.families.vocab_spec import ChatSpec, StreamSpec, VocabSpec, read_vocab_spec
    from slm_lens.features.autoencoder import (
        SAEFacts,
        SparseAutoencoder,
        StreamSite,
        random_sae,
        stream_site,
    )
    from slm_lens.features.dashboard import FeatureDashboard, feature_dashboard
    from slm_lens.features.feature_steering import SteeredFeature, logit_effects, steer_features
    from slm_lens.features.measures import (
        ModalityTags,
        chance_of_tag,
        encode_all,
        modality_tags,
        reconstruction_errors,
        shuffled_tags,
    )
    from slm_lens.features.saelens_files import load_sae, save_sae
    from slm_lens.features.settings import SAESettings
    from slm_lens.features.states import PositionStates, balanced_positions, position_states
    from slm_lens.features.train import train_sae
    from slm_lens.features.words import (
        WordActivations,
        purest_words,
        shared_words,
        word_activations,
    )
    from slm_lens.geometry.alignment_path import AlignmentPath, alignment_path
    from slm_lens.geometry.cka import layer_cka, linear_cka
    from slm_lens.geometry.coverage import AttentionCoverage, attention_coverage
    from slm_lens.geometry.paired import (
        PairedStates,
        PairedUtterance,
        paired_states,
        paired_with_text,
    )
    from slm_lens.geometry.similarity import cosine_matrix
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
    from slm_lens.lens.build_up import BuildUp, word_build_up
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
    from slm_lens.lens.pooled_states import pool_over_time
    from slm_lens.lens.states import residual_stack
    from slm_lens.lens.token_neighbours import token_neighbours
    from slm_lens.lens.tuned_lens import TunedLens, load_tuned_lens, unembedding_hash
    from slm_lens.lens.word_errors import ERROR_CLASSES, WordErrors
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
    from slm_lens.organism.fact_trials import FactTrials, fact_trials
    from slm_lens.organism.language import RELATIONS
    from slm_lens.organism.pair_sets import PairTrial, pair_trials
    from slm_lens.organism.pairs import FactPairs, organism_pairs
    from slm_lens.phases.crossed_bootstrap import crossed_interval
    from slm_lens.phases.measure import measure_phases
    from slm_lens.phases.permuted import PermutedRecall, permuted_recall
    from slm_lens.phases.random_weights import random_weights
    from slm_lens.phases.recall_excess import recall_excess
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
    from slm_lens.speech.phonemes import phoneme_distance, phonemes
    from slm_lens.speech.unit_density import UnitDensity, entropy_bits, unit_density
    from slm_lens.speech.unit_tokenizers import load_unit_tokenizer
    from slm_lens.speech.unit_words import unit_histograms, word_type_hits
    from slm_lens.speech.units import Units, UnitTokenizer, deduplicate
    from slm_lens.speech.warping import dtw_path
    from slm_lens.studies.correlations import (
        Correlation,
        partial_correlation,
        pearson,
        point_biserial,
        shuffled_interval,
        spearman,
    )
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
    from slm_lens.views.feature_page import feature_page
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
    "AlignmentPath": "geometry.alignment_path",
    "AttentionCoverage": "geometry.coverage",
    "AudioError": "errors",
    "BuildUp": "lens.build_up",
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
    "Correlation": "studies.correlations",
    "DataConfig": "corpus.data_config",
    "Dataset": "corpus.dataset",
    "DirectAttribution": "interventions.attribution.direct_result",
    "DoseResponse": "interventions.steering.dose_response",
    "ENGLISH_FUNCTION_WORDS": "sequence.function_words",
    "ERROR_CLASSES": "lens.word_errors",
    "EdgeAttribution": "interventions.attribution.edge_result",
    "EngineConfig": "corpus.run_config",
    "Exploration": "studies.exploration",
    "FactPairs": "organism.pairs",
    "FactTrials": "organism.fact_trials",
    "Faithfulness": "interventions.attribution.circuits",
    "Family": "families.family",
    "FeatureDashboard": "features.dashboard",
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
    "ModalityTags": "features.measures",
    "ModelConfig": "corpus.run_config",
    "NodeAttribution": "interventions.attribution.node_result",
    "Page": "views.page",
    "PageText": "views.page",
    "PairItem": "corpus.items",
    "PairTrial": "organism.pair_sets",
    "PairedStates": "geometry.paired",
    "PairedUtterance": "geometry.paired",
    "Patch": "interventions.runs.patched_runs",
    "PatchOptions": "corpus.kind_options",
    "PatchedRuns": "interventions.runs.patched_runs",
    "Patching": "interventions.patching.patching_result",
    "PathEffects": "interventions.attribution.path_patching",
    "PerceptionVector": "interventions.steering.perception_vector",
    "PermutedRecall": "phases.permuted",
    "PhaseStudy": "studies.phase_study",
    "Phases": "phases.result",
    "PhasesOptions": "corpus.kind_options",
    "PositionStates": "features.states",
    "Projection": "interventions.ablation.projection",
    "PromptFormat": "families.prompt",
    "Provenance": "model.provenance",
    "RELATIONS": "organism.language",
    "Readout": "readout.wanted",
    "ResidualGraph": "interventions.attribution.graph",
    "RunConfig": "corpus.run_config",
    "RunError": "errors",
    "RunPair": "interventions.pairs.run_pair",
    "SAEFacts": "features.autoencoder",
    "SAESettings": "features.settings",
    "ScoreOptions": "corpus.kind_options",
    "SequenceBatch": "sequence.batch",
    "SequenceLogProbs": "likelihood.sequence_log_probs",
    "Site": "interventions.site",
    "SlmLensError": "errors",
    "SpanMatch": "interventions.pairs.matching",
    "SparseAutoencoder": "features.autoencoder",
    "SpeechTextSequence": "sequence.sequence",
    "SpeechTextVocab": "vocab",
    "SteeredFeature": "features.feature_steering",
    "SteeredGeneration": "interventions.steering.steered_generation",
    "SteeredPrompt": "studies.steer_prompt",
    "Steering": "interventions.steering.steered",
    "StreamReader": "interventions.attribution.graph",
    "StreamSite": "features.autoencoder",
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
    "UnitDensity": "speech.unit_density",
    "UnitTokenizer": "speech.units",
    "Units": "speech.units",
    "Utterance": "sequence.utterance",
    "View": "views.page",
    "VocabError": "errors",
    "VocabSpec": "families.vocab_spec",
    "WordAblation": "interventions.ablation.word_ablation",
    "WordActivations": "features.words",
    "WordErrors": "lens.word_errors",
    "WordLens": "lens.word_lens",
    "WordSpan": "sequence.word_span",
    "ablate_heads": "interventions.heads.head_ablation",
    "ablate_words": "interventions.ablation.ablate_words",
    "ablated": "interventions.ablation.projection",
    "ablated_tokens": "views.coloured_tokens",
    "activations": "views.activations",
    "affinity": "lens.affinity",
    "alignment_path": "geometry.alignment_path",
    "answer_and_foil": "interventions.pairs.answers",
    "answer_probability": "interventions.metrics",
    "answer_rank": "interventions.metrics",
    "attention_coverage": "geometry.coverage",
    "attention_heads": "views.attention",
    "attribute_directly": "interventions.attribution.direct",
    "attribute_edges": "interventions.attribution.edges",
    "attribute_nodes": "interventions.attribution.nodes",
    "attributed_tokens": "views.coloured_tokens",
    "balanced_positions": "features.states",
    "causal_trace": "interventions.tracing.causal_trace",
    "chance_of_tag": "features.measures",
    "changed": "interventions.changing",
    "chart_of": "views.of_results",
    "clips_of": "corpus.folder",
    "coloured_tokens": "views.coloured_tokens",
    "component_stack": "lens.components",
    "contrast": "interventions.directions",
    "convert_checkpoint": "model.convert",
    "convert_kmeans": "speech.convert",
    "cosine_matrix": "geometry.similarity",
    "crossed_interval": "phases.crossed_bootstrap",
    "deduplicate": "speech.units",
    "describe_model": "model.describe",
    "divergence": "interventions.metrics",
    "dose_figure": "views.dose_figure",
    "dose_response": "interventions.steering.dose_response",
    "dtw_path": "speech.warping",
    "edges_figure": "views.attribution_figure",
    "effects_curves": "views.effects_figure",
    "effects_heat_map": "views.effects_figure",
    "encode_all": "features.measures",
    "entropy_bits": "speech.unit_density",
    "exploration_page": "views.exploration",
    "explore": "studies.explore",
    "explorer_view": "views.explorer",
    "fact_trials": "organism.fact_trials",
    "faithfulness": "interventions.attribution.circuits",
    "families_by_name": "families.registry",
    "feature_dashboard": "features.dashboard",
    "feature_page": "views.feature_page",
    "fit_tuned_lens": "lens.fit",
    "generate_steered": "interventions.steering.steered_generation",
    "head_roles": "interventions.heads.head_roles",
    "head_roles_figure": "views.head_roles_figure",
    "jacobian_lens": "lens.jacobian",
    "join_segments": "likelihood.joining",
    "join_speech": "likelihood.joining",
    "lag": "lens.affinity",
    "layer_cka": "geometry.cka",
    "lens_divergence": "lens.fit",
    "lens_figure": "views.lens_figure",
    "lens_grid": "lens.lens_grid",
    "lens_grid_figure": "views.lens_grid_figure",
    "lens_grid_view": "views.lens_grid",
    "linear_cka": "geometry.cka",
    "linear_decay": "interventions.steering.steered",
    "load": "model.load",
    "load_sae": "features.saelens_files",
    "load_tuned_lens": "lens.tuned_lens",
    "load_unit_tokenizer": "speech.unit_tokenizers",
    "log_prob": "interventions.metrics",
    "logit_difference": "interventions.metrics",
    "logit_effects": "features.feature_steering",
    "logit_of_modality": "interventions.attribution.logit_directions",
    "logit_of_tokens": "interventions.attribution.logit_directions",
    "logit_of_unit": "interventions.attribution.logit_directions",
    "match_runs": "interventions.pairs.matching",
    "measure_phases": "phases.measure",
    "middle_divergence": "lens.middle_layers",
    "modality_direction": "interventions.directions",
    "modality_figure": "views.modality_figure",
    "modality_mass": "interventions.metrics",
    "modality_tags": "features.measures",
    "models_figure": "views.models_figure",
    "next_unit_log_prob": "interventions.metrics",
    "nodes_figure": "views.attribution_figure",
    "open_run": "corpus.open_run",
    "organism_pairs": "organism.pairs",
    "orthonormal": "interventions.directions",
    "pad_batch": "sequence.batch",
    "pair_of_tokens": "interventions.pairs.run_pair",
    "pair_trials": "organism.pair_sets",
    "paired_states": "geometry.paired",
    "paired_with_text": "geometry.paired",
    "partial_correlation": "studies.correlations",
    "patch_pairs": "interventions.patching.patch_pairs",
    "patch_paths": "interventions.attribution.path_patching",
    "patched": "interventions.changing",
    "patching_figure": "views.sweeps_figure",
    "patching_map": "views.patching_map",
    "pearson": "studies.correlations",
    "perception_vector": "interventions.steering.perception_vector",
    "permuted_recall": "phases.permuted",
    "phases_figure": "views.phases_figure",
    "phoneme_distance": "speech.phonemes",
    "phonemes": "speech.phonemes",
    "point_biserial": "studies.correlations",
    "pool_over_time": "lens.pooled_states",
    "position_states": "features.states",
    "projected_out": "interventions.ablation.projection",
    "purest_words": "features.words",
    "random_directions": "interventions.directions",
    "random_sae": "features.autoencoder",
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
    "recall_excess": "phases.recall_excess",
    "reconstruction_errors": "features.measures",
    "report_phases": "report.phase_report",
    "report_run": "report.html_report",
    "report_study": "report.study_page",
    "residual_graph": "interventions.attribution.graph",
    "residual_stack": "lens.states",
    "run_corpus": "corpus.run",
    "run_study": "studies.run_study",
    "save_figure": "views.chart",
    "save_sae": "features.saelens_files",
    "score_trials": "likelihood.score_trials",
    "select_spoken_words": "sequence.spans",
    "sequence_log_probs": "likelihood.sequence_log_probs",
    "shared_words": "features.words",
    "shuffled_interval": "studies.correlations",
    "shuffled_tags": "features.measures",
    "sites": "interventions.site",
    "spearman": "studies.correlations",
    "specimen_files": "families.specimen",
    "speech_tokens": "views.speech_tokens",
    "steer_features": "features.feature_steering",
    "steer_pairs": "studies.steer_pairs",
    "steer_prompt": "studies.steer_prompt",
    "steered": "interventions.steering.steered",
    "stream_site": "features.autoencoder",
    "study_figures": "views.study_figures",
    "study_phases": "studies.phase_study",
    "subject_noise": "interventions.tracing.traced_subjects",
    "subject_runs": "interventions.tracing.traced_subjects",
    "table_view": "views.table",
    "text_subspace": "interventions.directions",
    "to_transformer_lens": "lens.jacobian",
    "token_neighbours": "lens.token_neighbours",
    "top_tokens": "views.top_tokens",
    "tracing_figure": "views.sweeps_figure",
    "train_sae": "features.train",
    "unembedding_hash": "lens.tuned_lens",
    "unit_density": "speech.unit_density",
    "unit_histograms": "speech.unit_words",
    "waveform_view": "views.waveform",
    "word_ablation_figure": "views.effects_figure",
    "word_activations": "features.words",
    "word_build_up": "lens.build_up",
    "word_directions": "interventions.directions",
    "word_lens": "lens.word_lens",
    "word_ranks_figure": "views.ranks_figure",
    "word_type_hits": "speech.unit_words",
    "word_unit_spans": "sequence.spans",
    "write_alignment": "speech.alignment_files",
    "write_lens_grids": "lens.grid_files",
}

__all__ = [
    "ENGLISH_FUNCTION_WORDS",
    "ERROR_CLASSES",
    "RELATIONS",
    "Affinity",
    "AlignedWord",
    "Alignment",
    "AlignmentError",
    "AlignmentPath",
    "AttentionCoverage",
    "AudioError",
    "BuildUp",
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
    "Correlation",
    "DataConfig",
    "Dataset",
    "DirectAttribution",
    "DoseResponse",
    "EdgeAttribution",
    "EngineConfig",
    "Exploration",
    "FactPairs",
    "FactTrials",
    "Faithfulness",
    "Family",
    "FeatureDashboard",
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
    "ModalityTags",
    "ModelConfig",
    "NodeAttribution",
    "Page",
    "PageText",
    "PairItem",
    "PairTrial",
    "PairedStates",
    "PairedUtterance",
    "Patch",
    "PatchOptions",
    "PatchedRuns",
    "Patching",
    "PathEffects",
    "PerceptionVector",
    "PermutedRecall",
    "PhaseStudy",
    "Phases",
    "PhasesOptions",
    "PositionStates",
    "Projection",
    "PromptFormat",
    "Provenance",
    "Readout",
    "ResidualGraph",
    "RunConfig",
    "RunError",
    "RunPair",
    "SAEFacts",
    "SAESettings",
    "ScoreOptions",
    "SequenceBatch",
    "SequenceLogProbs",
    "Site",
    "SlmLensError",
    "SpanMatch",
    "SparseAutoencoder",
    "SpeechTextSequence",
    "SpeechTextVocab",
    "SteeredFeature",
    "SteeredGeneration",
    "SteeredPrompt",
    "Steering",
    "StreamReader",
    "StreamSite",
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
    "UnitDensity",
    "UnitTokenizer",
    "Units",
    "Utterance",
    "View",
    "VocabError",
    "VocabSpec",
    "WordAblation",
    "WordActivations",
    "WordErrors",
    "WordLens",
    "WordSpan",
    "ablate_heads",
    "ablate_words",
    "ablated",
    "ablated_tokens",
    "activations",
    "affinity",
    "alignment_path",
    "answer_and_foil",
    "answer_probability",
    "answer_rank",
    "attention_coverage",
    "attention_heads",
    "attribute_directly",
    "attribute_edges",
    "attribute_nodes",
    "attributed_tokens",
    "balanced_positions",
    "causal_trace",
    "chance_of_tag",
    "changed",
    "chart_of",
    "clips_of",
    "coloured_tokens",
    "component_stack",
    "contrast",
    "convert_checkpoint",
    "convert_kmeans",
    "cosine_matrix",
    "crossed_interval",
    "deduplicate",
    "describe_model",
    "divergence",
    "dose_figure",
    "dose_response",
    "dtw_path",
    "edges_figure",
    "effects_curves",
    "effects_heat_map",
    "encode_all",
    "entropy_bits",
    "exploration_page",
    "explore",
    "explorer_view",
    "fact_trials",
    "faithfulness",
    "families_by_name",
    "feature_dashboard",
    "feature_page",
    "fit_tuned_lens",
    "generate_steered",
    "head_roles",
    "head_roles_figure",
    "jacobian_lens",
    "join_segments",
    "join_speech",
    "lag",
    "layer_cka",
    "lens_divergence",
    "lens_figure",
    "lens_grid",
    "lens_grid_figure",
    "lens_grid_view",
    "linear_cka",
    "linear_decay",
    "load",
    "load_sae",
    "load_tuned_lens",
    "load_unit_tokenizer",
    "log_prob",
    "logit_difference",
    "logit_effects",
    "logit_of_modality",
    "logit_of_tokens",
    "logit_of_unit",
    "match_runs",
    "measure_phases",
    "middle_divergence",
    "modality_direction",
    "modality_figure",
    "modality_mass",
    "modality_tags",
    "models_figure",
    "next_unit_log_prob",
    "nodes_figure",
    "open_run",
    "organism_pairs",
    "orthonormal",
    "pad_batch",
    "pair_of_tokens",
    "pair_trials",
    "paired_states",
    "paired_with_text",
    "partial_correlation",
    "patch_pairs",
    "patch_paths",
    "patched",
    "patching_figure",
    "patching_map",
    "pearson",
    "perception_vector",
    "permuted_recall",
    "phases_figure",
    "phoneme_distance",
    "phonemes",
    "point_biserial",
    "pool_over_time",
    "position_states",
    "projected_out",
    "purest_words",
    "random_directions",
    "random_sae",
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
    "recall_excess",
    "reconstruction_errors",
    "report_phases",
    "report_run",
    "report_study",
    "residual_graph",
    "residual_stack",
    "run_corpus",
    "run_study",
    "save_figure",
    "save_sae",
    "score_trials",
    "select_spoken_words",
    "sequence_log_probs",
    "shared_words",
    "shuffled_interval",
    "shuffled_tags",
    "sites",
    "spearman",
    "specimen_files",
    "speech_tokens",
    "steer_features",
    "steer_pairs",
    "steer_prompt",
    "steered",
    "stream_site",
    "study_figures",
    "study_phases",
    "subject_noise",
    "subject_runs",
    "table_view",
    "text_subspace",
    "to_transformer_lens",
    "token_neighbours",
    "top_tokens",
    "tracing_figure",
    "train_sae",
    "unembedding_hash",
    "unit_density",
    "unit_histograms",
    "waveform_view",
    "word_ablation_figure",
    "word_activations",
    "word_build_up",
    "word_directions",
    "word_lens",
    "word_ranks_figure",
    "word_type_hits",
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
