"""What happens when a button is pressed: a call of the `Workbench`, as HTML to show.

A wrong input is answered with a card that says what was got, what was expected and what to do; any
other error is ours, and gradio reports it without its text.
"""

from collections.abc import Iterator
from html import escape
from typing import Any

import gradio as gr

from slm_lens.app.hearing import Heard
from slm_lens.app.workbench import Step, Workbench
from slm_lens.errors import SlmLensError

REFUSED = (SlmLensError, ValueError, LookupError, ImportError, OSError)
"""What a wrong input raises; of a sound file also that it is gone."""

WHOLE = 0
"""Stands for the whole clip where the number of words of a prompt is asked for."""


class Events:
    """The handlers of one app. They hold no visitor's data: that comes in, and goes out.

    Args:
        bench: what they call.
    """

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench

    def read_text(self, model: str, text: str, voice: str) -> Iterator[tuple[Any, ...]]:
        """Speak a typed sentence, and read it."""
        yield from self._read(model, lambda: self._bench.hear_text(model, text, voice))

    def read_clip(
        self, model: str, path: str | None, words_file: str | None, transcript: str
    ) -> Iterator[tuple[Any, ...]]:
        """Read an uploaded or recorded clip."""
        yield from self._read(
            model, lambda: self._bench.hear_clip(model, path, words_file, transcript or "")
        )

    def read_again(self, model: str, heard: Heard | None) -> Iterator[str]:
        """Read what was heard with another model."""
        if heard is not None:
            yield from shown(self._bench.look(model, heard))

    def layers(self, model: str) -> Any:
        """The slider of layers for a model."""
        last = self._bench.model(model).cfg.n_layers - 1
        return gr.update(maximum=last, value=last // 2)

    def patch(
        self,
        model: str,
        heard: Heard | None,
        word: int | None,
        replacement: str,
        voice: str,
        n_words: int | None,
        announce: Any,
        answer: str,
        foil: str,
        kind: Any,
        direction: Any,
    ) -> Iterator[str]:
        """Exchange a word and patch."""
        yield from shown(
            self._bench.patch(
                model, heard, word=-1 if word is None else int(word), replacement=replacement,
                voice=voice, n_words=n_words or None, announce=announce, answer=answer or "",
                foil=foil or "", kind=kind, direction=direction,
            )
        )  # fmt: skip

    def compare(self, model: str, heard: Heard | None, other: str) -> Iterator[str]:
        """Read with two models."""
        yield from shown(self._bench.compare(model, other, heard))

    def steer(
        self,
        model: str,
        heard: Heard | None,
        toward: str,
        strength: float,
        layer: float,
        n_words: int | None,
        announce: Any,
        max_new_tokens: float,
        temperature: float,
    ) -> Iterator[str]:
        """Continue, as the model is and steered."""
        yield from shown(
            self._bench.steer(
                model, heard, toward=toward, strength=float(strength), layer=int(layer),
                n_words=n_words or None, announce=announce, max_new_tokens=int(max_new_tokens),
                temperature=float(temperature),
            )
        )  # fmt: skip

    def _read(self, model: str, hear: Any) -> Iterator[tuple[Any, ...]]:
        """What was heard, what to show, and the choices of words, in the order of the outputs."""
        try:
            heard = hear()
        except REFUSED as error:  # nothing stays that the visitor might take for the new input
            yield None, refusal(error), *word_choices(None)
            return
        choices = word_choices(heard)
        for page in shown(self._bench.look(model, heard)):
            yield heard, page, *choices
            choices = (gr.skip(),) * len(choices)


def word_choices(heard: Heard | None) -> tuple[Any, Any, Any]:
    """Choices for the word to exchange, and for where a prompt ends, twice."""
    words = [(f"{i} {w}", i) for i, w in enumerate(heard.words if heard else (), start=1)]
    exchanged = [(name, i - 1) for name, i in words]
    ends = [("with the clip", WHOLE), *((f"after {name}", i) for name, i in words)]
    last = exchanged[min(1, len(exchanged) - 1)][1] if exchanged else None
    end = gr.update(choices=ends, value=WHOLE)
    return gr.update(choices=exchanged, value=last), end, end


def shown(steps: Iterator[Step]) -> Iterator[str]:
    """HTML of every step, with how far it is; a refusal as a card.

    Args:
        steps: of a `Workbench`.

    Yields:
        HTML.
    """
    last = ""
    try:
        for step in steps:
            last = step.html
            yield progress_bar(step) + step.html
    except REFUSED as error:
        yield refusal(error) + last


def progress_bar(step: Step) -> str:
    """How far something is; empty at the end.

    Args:
        step: the step.

    Returns:
        HTML.
    """
    if step.done >= step.total:
        return ""
    return (
        f'<p class="slm-progress" role="status">{step.done} of {step.total} '
        f'<progress max="{step.total}" value="{step.done}"></progress></p>'
    )


def refusal(error: Exception) -> str:
    """An error as a card.

    Args:
        error: what was raised.

    Returns:
        HTML; the message is escaped.
    """
    return f'<div class="slm-card slm-error" role="alert">{escape(str(error))}</div>'
