"""The errors that a caller may want to catch.

```
SlmLensError
├── AudioError        a sound file that cannot be used
├── AlignmentError    word times that cannot be used
├── RunError          a run over a corpus that cannot go on
└── VocabError        token ids that do not fit the vocabulary, or text that it lacks
```

Wrong use raises the built-in ``ValueError``, ``TypeError``, ``LookupError`` or ``ImportError``.
Each error below is also a ``ValueError``, so ``except ValueError`` sees it.
"""


class SlmLensError(Exception):
    """Root of the errors above."""


class AudioError(SlmLensError, ValueError):
    """A sound file or waveform is empty, unreadable, silent, truncated or not finite."""


class AlignmentError(SlmLensError, ValueError):
    """Word times are missing, overlap, run backwards, or leave the clip."""


class RunError(SlmLensError, ValueError):
    """A run's folder is full, damaged or another run's; or an item cannot be read, if strict."""


class VocabError(SlmLensError, ValueError):
    """Token ids overlap, leave a gap, or lie outside the vocabulary; or it lacks text."""
