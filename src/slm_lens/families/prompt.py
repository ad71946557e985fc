"""How a model was taught to read a prompt."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Turn:
    """Token ids around the user's words in a chat."""

    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass(frozen=True)
class PromptFormat:
    """Placeholder until the sequence branch lands."""

    before: tuple[int, ...]
    after: tuple[int, ...] = ()
    mark_speech_only: bool = False
    mark_text_only: bool = False
    repeat_marker: bool = False
    chat: Mapping[str, Turn] = field(default_factory=dict)
