"""A whole data set through a model, shard by shard, by any number of processes.

```python
config = slm_lens.read_run_config("run.yaml")
run = slm_lens.run_corpus(config)
slm_lens.measure_phases(run.word_lens()).summary()
```

1. Keys of all items are read once, and the words that control words come from (`plan`).
2. Items are divided into shards of fixed size, in order. A process takes a shard that is neither
   done nor taken, reads its items in threads while the model runs an earlier one, and runs the
   model over items of like length together (`shard_runner`).
3. The rows of the shard are written in full, or not at all (`run_folder`, `store`).

What a shard holds depends on config, model and data alone. So a run that was killed goes on with
the shards that are missing, and ends as one that was not; and who runs them (`engines`) makes no
difference.
"""

from slm_lens._console import step_progress
from slm_lens.corpus.dataset import Dataset
from slm_lens.corpus.engines.local import run_here
from slm_lens.corpus.engines.ray_pool import run_with_ray
from slm_lens.corpus.open_run import CorpusRun, open_run
from slm_lens.corpus.run_config import RunConfig
from slm_lens.corpus.session import RunSession
from slm_lens.model.hooked import HookedSLM


def run_corpus(
    config: RunConfig,
    *,
    model: HookedSLM | None = None,
    data: Dataset | None = None,
    progress: bool = False,
) -> CorpusRun:
    """Run a model over a data set; goes on where an earlier run of the same config stopped.

    Args:
        config: what to do.
        model: the model, if it is loaded already, for the engine "local"; what the config says of
            it is then only kept.
        data: a data set of your own, for the engine "local"; what the config says of it is then
            only kept.
        progress: show a progress bar, on a terminal.

    Returns:
        The finished run.

    Raises:
        RunError: the folder is another run's, the disk is full, or, if the config is strict, an
            item cannot be read.
        LookupError: the data or the model are not there.
        VocabError: the model has no text.
        ValueError: data and kind do not fit together, or an option is refused.
        AttributeError: the data have sound, and the model no unit tokenizer.
        ImportError: a package for the engine or the output is not installed.
    """  # noqa: DOC502 (raised by the parts)
    if config.engine.name == "ray":
        if model is not None or data is not None:
            raise ValueError(
                "run_corpus: got a model or data in memory for the engine 'ray', expected neither: "
                "each worker loads what the config names. Take the engine 'local'."
            )
        run_with_ray(config, progress=progress)
        return open_run(config.out)
    session = RunSession(config, model, data)
    try:
        with step_progress("items", len(session.plan.items), shown=progress) as show:
            run_here(session, show)
    finally:
        session.close()
    return open_run(config.out)
