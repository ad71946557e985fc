"""What a run is to do, from a YAML file or from flags.

```yaml
kind: phases
model: {name: organism}
data: {format: folder, path: held-out}
out: runs/corpus
```
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from slm_lens._typed_entries import typed_entries
from slm_lens._yaml import read_yaml
from slm_lens.corpus.data_config import DataConfig
from slm_lens.corpus.dataset import Limits
from slm_lens.corpus.kind_options import (
    CacheOptions,
    PatchOptions,
    PhasesOptions,
    ScoreOptions,
    TraceOptions,
)
from slm_lens.lens.states import Autocast, Forward

Kind = Literal["phases", "score", "patch", "trace", "cache"]
Dtype = Literal["float32", "bfloat16", "float16", "stored"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The model, as `slm_lens.load` takes it.

    Attributes:
        name: embedded model, folder or hub id.
        text_tokenizer: folder or hub id of the text tokenizer.
        vocab_spec: YAML description of the vocabulary.
        family: name of the family.
        adapter: folder or hub id of an adapter.
        unit_tokenizer: folder of the unit tokenizer.
        revision: branch, tag or commit on the hub.
        dtype: dtype of the weights; "stored" keeps the one on disk.
        device: where to put the model.
        device_map: how to share the model out over devices, as in transformers; instead of
            `device`.
        max_memory: memory of each device that may be used, such as ``{"0": "70GiB"}``.
    """

    name: str
    text_tokenizer: str | None = None
    vocab_spec: str | None = None
    family: str | None = None
    adapter: str | None = None
    unit_tokenizer: str | None = None
    revision: str | None = None
    dtype: Dtype = "float32"
    device: str | None = None
    device_map: Literal["auto", "balanced", "balanced_low_0", "sequential"] | None = None
    max_memory: Mapping[str, int | str] | None = None


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Who runs the shards.

    Attributes:
        name: "local", this process; "ray", a pool of processes that hold a model each, on this
            machine or a cluster.
        n_workers: of "ray": how many models.
        cpus_per_worker: of "ray": cores, and threads of torch, for each.
        gpus_per_worker: of "ray": GPUs for each; 0.5 lets two share one.
        address: of "ray": address of a cluster, "auto" for the one that this machine belongs to;
            None starts Ray on this machine.
        n_retries: of "ray": how often a worker may be lost before the run gives up.
    """

    name: Literal["local", "ray"] = "local"
    n_workers: int = 1
    cpus_per_worker: int = 1
    gpus_per_worker: float = 0.0
    address: str | None = None
    n_retries: int = 3

    def __post_init__(self) -> None:
        least = {"n_workers": 1, "cpus_per_worker": 1, "gpus_per_worker": 0, "n_retries": 0}
        _require_at_least(self, least, "engine")
        if self.name == "local" and any(getattr(self, f.name) != f.default for f in fields(self)):
            raise ValueError(
                "engine: got options of 'ray' for the engine 'local', expected none: it is this "
                "process. Start the same command several times, or set name: ray."
            )


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A run over a data set.

    Attributes:
        model: what is run.
        data: over what.
        out: folder of the run, or a URL that fsspec knows, such as ``s3://bucket/run``.
        kind: what is measured: "phases", the word table of `slm_lens.word_lens`; "score",
            likelihoods of pairs of utterances; "patch" and "trace", `slm_lens.patch_pairs` and
            `slm_lens.causal_trace` over a table of pairs; "cache", activations.
        phases, score, patch, trace, cache: options of that kind.
        seed: seed of whatever is drawn.
        forward: which forward pass gives the states; see `residual_stack`.
        autocast: multiply in half precision, with weights and residual stream as they are, of
            kinds that read the residual stream; None for the weights' own.
        items_per_shard: items whose rows are in one file, and are done again after an interruption.
        tokens_per_batch: tokens in one forward pass, padding included; one item that is longer
            runs alone. Changes numbers by rounding only.
        limits: how much one item may ask for.
        n_readers: threads that read sound and extract units while the model runs.
        engine: who runs the shards.
        strict: stop at the first item that cannot be read.

    Raises:
        ValueError: a number is out of range, or options are those of another kind.
    """

    model: ModelConfig
    data: DataConfig
    out: str
    kind: Kind = "phases"
    phases: PhasesOptions | None = None
    score: ScoreOptions | None = None
    patch: PatchOptions | None = None
    trace: TraceOptions | None = None
    cache: CacheOptions | None = None
    seed: int = 0
    forward: Forward = "auto"
    autocast: Autocast | None = None
    items_per_shard: int = 256
    tokens_per_batch: int = 4096
    limits: Limits = field(default_factory=Limits)
    n_readers: int = 2
    engine: EngineConfig = field(default_factory=EngineConfig)
    strict: bool = False

    def __post_init__(self) -> None:
        least = {"items_per_shard": 1, "tokens_per_batch": 1, "n_readers": 1, "seed": 0}
        _require_at_least(self, least, "RunConfig")
        foreign = [k for k in _OPTIONS if k != self.kind and getattr(self, k) is not None]
        if foreign:
            raise ValueError(
                f"RunConfig: got options of {foreign} for a run of the kind {self.kind!r}, "
                f"expected those of {self.kind!r} alone. Leave them out."
            )
        if self.engine.gpus_per_worker and not (self.model.device or self.model.device_map):
            raise ValueError(
                f"RunConfig: got gpus_per_worker={self.engine.gpus_per_worker:g} and no "
                "model.device, expected one: the model would run on the CPU. Set model.device: "
                "cuda."
            )
        if self.autocast is not None and self.kind in ("patch", "trace"):
            raise ValueError(
                f"RunConfig: got autocast={self.autocast!r} for the kind {self.kind!r}, expected "
                "none: patched runs are resumed exactly, in the weights' own dtype. Set "
                "model.dtype."
            )

    @property
    def options(self) -> Any:
        """Options of the run's kind."""
        given = getattr(self, self.kind)
        return _OPTIONS[self.kind]() if given is None else given

    def what_rows_depend_on(self) -> dict[str, Any]:
        """Everything but where the rows are put, and by how many threads and processes.

        Returns:
            Plain values.
        """
        left_out = ("out", "n_readers", "engine", "strict", *_OPTIONS)
        rest = {k: v for k, v in asdict(self).items() if k not in left_out}
        return rest | {"options": asdict(self.options)}


_OPTIONS: dict[str, Any] = {
    "phases": PhasesOptions,
    "score": ScoreOptions,
    "patch": PatchOptions,
    "trace": TraceOptions,
    "cache": CacheOptions,
}


def read_run_config(path: str | Path, changes: Mapping[str, Any] | None = None) -> RunConfig:
    """Read a YAML file.

    Args:
        path: the file.
        changes: entries that take the place of the file's; those of an entry that has entries
            itself, such as ``model``, one by one.

    Returns:
        What it says.

    Raises:
        LookupError: there is no such file.
        ValueError: it is no YAML, has an entry that is unknown or stands twice, lacks one, or one
            has the wrong type.
    """
    path = Path(path)
    if not path.is_file():
        raise LookupError(f"read_run_config: no file at {str(path)!r}, expected a YAML file.")
    try:
        entries = read_yaml(path)
    except (ValueError, OSError) as error:
        raise ValueError(
            f"read_run_config: {path} cannot be used: {error}. See docs/corpus.md."
        ) from None
    return run_config(entries, changes, where=f"read_run_config: {path}")


def run_config(
    entries: object, changes: Mapping[str, Any] | None = None, *, where: str = "run_config"
) -> RunConfig:
    """A configuration from plain values.

    Args:
        entries: as YAML has them.
        changes: as in `read_run_config`.
        where: what messages begin with.

    Returns:
        The configuration.

    Raises:
        ValueError: as in `read_run_config`.
    """
    if not isinstance(entries, dict):
        raise ValueError(
            f"{where}: got a {type(entries).__name__}, expected entries such as `kind: phases`."
        )
    entries = dict(entries)
    for name, value in (changes or {}).items():
        inner = entries.get(name)
        if isinstance(value, Mapping) and (inner is None or isinstance(inner, dict)):
            entries[name] = {**(inner or {}), **value}
        else:
            entries[name] = value
    return typed_entries(RunConfig, entries, where)


def _require_at_least(config: Any, least: Mapping[str, int], where: str) -> None:
    for name, value in least.items():
        if not getattr(config, name) >= value:
            raise ValueError(
                f"{where}: got {name}={getattr(config, name)}, expected at least {value}."
            )
