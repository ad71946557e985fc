"""Runs of the run that is changed, with gradients: as it is, and on its way to the other one."""

from collections.abc import Iterable, Mapping

from jaxtyping import Float
from torch import Tensor

from slm_lens.interventions.attribution._pair_task import PairTask
from slm_lens.interventions.attribution._runs import EMBEDDED, record_graph
from slm_lens.lens.jacobian import DifferentiableModel


class TargetRuns:
    """The target run of a pair, in a graph.

    Args:
        model: the model.
        task: the pair.
        names: hooks to keep.

    Attributes:
        own: activations of the target run as it is, without batch axis and gradients.
    """

    own: Mapping[str, Tensor]

    def __init__(self, model: DifferentiableModel, task: PairTask, names: Iterable[str]) -> None:
        self._model, self._tokens, self._names = model, task.target.tokens, list(names)
        self._graph: dict[str, Tensor] | None = record_graph(model, self._tokens, self._names)
        self.own = {name: kept[0].detach() for name, kept in self._graph.items()}

    def towards(self, part: float, difference: Float[Tensor, "pos d_model"]) -> dict[str, Tensor]:
        """Activations of the run that is a part of the way to the source's embeddings.

        Args:
            part: 0 for the run as it is, which is there already, once; 1 for the other end.
            difference: source's embeddings, moved, less the target's.

        Returns:
            Activations in one graph, with the batch axis.
        """
        graph, self._graph = self._graph, None  # one graph at a time
        if graph is None or part:
            start = self.own[EMBEDDED] + part * difference
            graph = record_graph(self._model, self._tokens, self._names, embedded=start)
        return graph
