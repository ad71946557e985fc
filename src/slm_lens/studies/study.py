"""`Study`: what an experiment asks, where it is from, what is controlled, what it costs."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slm_lens.studies.study_result import StudyResult


@dataclass(frozen=True, kw_only=True)
class Study:
    """An experiment that one command runs; plain text, so that a list of them costs nothing.

    Attributes:
        name: what ``slm-lens study`` calls it.
        question: what it asks, in one line.
        source: of the experiment: authors, year, arXiv id.
        reproduced: what is done as the source does it.
        chosen: what the source leaves open or has otherwise, and what was chosen here.
        controls: what would show the same number if there were nothing to find.
        needs: what it must be given.
        cost: how long it takes with its defaults, on what.
        models: models that it runs on if none is named.
        function: where it is implemented, as ``module:function``; takes loaded models and an
            instance of the class that annotates its parameter ``options``.
    """

    name: str
    question: str
    source: str
    reproduced: str
    chosen: str
    controls: str
    needs: str
    cost: str
    models: tuple[str, ...]
    function: str

    def implementation(self) -> "Callable[..., StudyResult]":
        """The function; imports what it needs.

        Returns:
            A function of models and options.
        """
        module, _, name = self.function.partition(":")
        return getattr(import_module(module), name)

    def options_class(self) -> type[Any]:
        """The class of its options; imports what the study needs.

        Returns:
            A dataclass whose fields all have defaults.
        """
        return inspect.signature(self.implementation()).parameters["options"].annotation
