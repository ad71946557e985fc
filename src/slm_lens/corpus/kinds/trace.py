"""A run of the kind ``trace``: the rows of `slm_lens.causal_trace`, one prompt at a time.

Two things depend on all prompts: how large the noise is, and which clean runs stand for several
pairs. All items are therefore read once more before the first shard, without a forward pass; what
comes of it stands in the manifest, from where other processes and later ones have it.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, ClassVar

import polars as pl

from slm_lens.corpus.dataset import ITEM_ERRORS
from slm_lens.corpus.items import AnyItem, Holds
from slm_lens.corpus.kind_options import TraceOptions
from slm_lens.corpus.kinds.kind import KindInput, ReadyItem, require_context
from slm_lens.corpus.kinds.pair_work import engine_facts, engine_table, pair_of, ready_alone
from slm_lens.corpus.run_folder import Content
from slm_lens.corpus.tables import ENGINES
from slm_lens.interventions.named_metrics import named_metrics
from slm_lens.interventions.runs.measured_run import MeasuredRun
from slm_lens.interventions.tracing._traced_prompt import check_sigma, plan_traces, trace_prompt
from slm_lens.interventions.tracing.traced_subjects import (
    SubjectSpread,
    counted_by,
    modality_of,
    subject_runs,
)
from slm_lens.interventions.tracing.tracing_result import PROMPTS, SCHEMA
from slm_lens.sequence.word_span import Modality


class TraceKind:
    """Makes rows of the clean runs of pairs.

    Args:
        given: model and config, and all items, if the run begins.

    Raises:
        ValueError: an unknown metric or option, a layer that the model does not have, noise that
            is none, or embeddings that do not vary.
    """

    holds: ClassVar[Holds] = "pairs"

    def __init__(self, given: KindInput) -> None:
        options: TraceOptions = given.config.options
        self._model, self._options = given.model, options
        self._plan = plan_traces(
            given.model,
            options.site,
            metrics={m.name: m for m in named_metrics(options.metrics, "trace")},
            at=options.at,
            layers=options.layers,
            window=options.window,
            severed=options.severed,
            unanswered=options.unanswered,
            n_samples=options.n_samples,
            seed=given.config.seed,
            memory_mb=options.memory_mb,
        )
        self._sigma: dict[Modality, float] = {}
        self._repeated: dict[str, str] = {}
        self._settle(given)
        self.facts: dict[str, Any] = {
            **engine_facts(given.model),
            "kind": options.site,
            "at": options.at,
            "window": self._plan.windows.size,
            "severed": options.severed,
            "sigma": self._sigma,
            "n_samples": options.n_samples,
            "seed": given.config.seed,
            "repeated": self._repeated,
        }

    def _settle(self, given: KindInput) -> None:
        """Noise, and pairs whose clean run an earlier pair has, of all items or as settled."""
        if self._options.sigma is not None:
            check_sigma(self._options.sigma, set())
        if given.settled is not None and {"sigma", "repeated"} <= given.settled.keys():
            self._sigma |= given.settled["sigma"]
            self._repeated |= given.settled["repeated"]
            return
        spread, first = SubjectSpread(given.model), dict[bytes, str]()
        for name, item in given.items():
            try:
                run = self._prompt(name, item)
            except ITEM_ERRORS:
                continue  # told when its turn comes
            key = hashlib.sha256(repr(counted_by(run)).encode()).digest()
            if key in first:
                self._repeated[name] = first[key]
                continue
            first[key] = name
            if self._options.sigma is None:
                spread.add(run)
        sigma = self._options.sigma or spread.noise(self._options.noise_scale)
        self._sigma |= {m: float(s) for m, s in sigma.items()}

    @classmethod
    def needs_words(cls, options: TraceOptions) -> bool:  # noqa: ARG003 (of every kind)
        """Whether items need words for controls.

        Args:
            options: of the kind.

        Returns:
            False: the corrupted run is the control.
        """
        return False

    def ready(self, position: int, name: str, item: AnyItem) -> ReadyItem[MeasuredRun | None]:
        """An item as the model reads it.

        Args:
            position: which item of the run.
            name: its name.
            item: a pair.

        Returns:
            The item; without a prompt, if an earlier pair has it and that is wanted.

        Raises:
            ValueError: its runs do not match, the clean one does not fit into the model's context,
                its subject is of no or several modalities, or of one without noise, or an
                earlier pair has the same clean run, subject and answer.
        """
        run = self._prompt(name, item)
        check_sigma(self._sigma, {modality_of(run, "causal_trace")})
        is_repeated = name in self._repeated
        if is_repeated and self._options.repeated == "refuse":
            raise ValueError(
                f"got the clean run, subject and answer of {self._repeated[name]!r} once more, "
                "expected each once: the run would count twice. Take one partner for each fact, "
                "or trace.repeated: once, which passes over later ones."
            )
        work = None if is_repeated else run
        return ready_alone(self._model, position, name, (run.sequence,), work)

    def rows(self, batch: Sequence[ReadyItem[MeasuredRun | None]]) -> list[dict[str, Content]]:
        """Trace some prompts.

        Args:
            batch: the prompts.

        Returns:
            Rows of the tables of tracing and of prompts of each, and how they were made.
        """
        found = list[dict[str, Content]]()
        for x in batch:
            rows, about, engines = [], [], pl.DataFrame(schema=ENGINES)
            if x.work is not None:
                done = trace_prompt(self._model, x.work, self._plan, self._sigma)
                rows, about = done.rows, [done.about]
                engines = engine_table(x.name, done.engine, done.why)
            of_one: dict[str, Content] = {
                "tracing": pl.DataFrame(rows, schema=SCHEMA, orient="row"),
                "prompts": pl.DataFrame(about, schema=PROMPTS, orient="row"),
                "engines": engines,
            }
            found.append(of_one)
        return found

    def _prompt(self, name: str, item: AnyItem) -> MeasuredRun:
        """The clean run of a pair, if it can be traced.

        Raises:
            ValueError: as `ready`.
        """  # noqa: DOC502 (raised by the parts)
        pair = pair_of(self._model, name, item, self._options)
        require_context(len(pair.clean), self._model)
        (run,) = subject_runs([pair])
        modality_of(run, "causal_trace")
        return run
