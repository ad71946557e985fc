"""The espeak-ng library, loaded through ctypes for as long as it is needed.

It comes from the ``espeakng-loader`` package (``pip install 'slm-lens[synth]'``) or, when that is
missing, from a system-wide espeak-ng.
"""

import _ctypes
import ctypes
import ctypes.util
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SYNCHRONOUS, _PHONEME_EVENTS, _DONT_EXIT = 2, 1, 0x8000
_NOISE_SEED = 1

_ONE_VOICE = threading.Lock()
"""espeak-ng has one state for the whole process, and ctypes lets other threads run meanwhile."""


@contextmanager
def started(what: str) -> Iterator[tuple[ctypes.CDLL, int]]:
    """The library freshly loaded, and its sample rate.

    Its oscillators and its noise go on from one text to the next, even after espeak_Terminate, and
    the noise starts from the clock; so it is loaded again (4 ms) and seeded each time.

    Args:
        what: what needs it, to begin messages with.

    Yields:
        Library and samples per second.

    Raises:
        ImportError: it did not start.
    """
    with _ONE_VOICE:
        library, data_path = _find_library(what)
        try:
            rate_hz = library.espeak_Initialize(
                _SYNCHRONOUS, 0, data_path, _PHONEME_EVENTS | _DONT_EXIT
            )
            if rate_hz <= 0:
                raise ImportError(
                    f"espeak-ng was found but did not start (espeak_Initialize gave {rate_hz}, "
                    f"expected a sample rate; data folder {data_path!r}). Reinstall it: "
                    "pip install 'slm-lens[synth]'"
                )
            library.espeak_ng_SetRandSeed(ctypes.c_long(_NOISE_SEED))
            yield library, rate_hz
        finally:
            library.espeak_Terminate()
            # ctypes has no public way to close a library.
            close = _ctypes.FreeLibrary if sys.platform == "win32" else _ctypes.dlclose
            close(library._handle)


def choose_voice(library: ctypes.CDLL, name: str, caller: str) -> None:
    """Let the library speak in a voice.

    Args:
        library: from `started`.
        name: of the voice, with an optional variant.
        caller: the public function, to begin messages with.

    Raises:
        ValueError: it does not know the voice.
    """
    # espeak-ng speaks in the plain voice when it lacks the variant.
    library.espeak_Info.restype = ctypes.c_char_p
    data_path = ctypes.c_char_p()
    library.espeak_Info(ctypes.byref(data_path))
    variants = Path((data_path.value or b"").decode()) / "voices" / "!v"
    _, plus, variant = name.partition("+")
    known = not plus or (variant and (variants / variant).is_file())
    if not known or library.espeak_SetVoiceByName(name.encode()) != 0:
        raise ValueError(
            f"{caller}: espeak-ng does not know the voice {name!r}; expected a language "
            "with an optional variant, such as 'en-us' or 'en+f3'."
        )


def _find_library(what: str) -> tuple[ctypes.CDLL, bytes | None]:
    try:
        import espeakng_loader
    except ImportError:
        found = ctypes.util.find_library("espeak-ng")
        if found is None:
            raise ImportError(
                f"{what} needs espeak-ng: pip install 'slm-lens[synth]', or install espeak-ng "
                "with the system's package manager."
            ) from None
        library = ctypes.CDLL(found)
        if not hasattr(library, "espeak_ng_SetRandSeed"):
            raise ImportError(
                f"The espeak-ng of this system ({found}) is older than 1.52, expected one whose "
                "noise can be seeded: pip install 'slm-lens[synth]'"
            ) from None
        return library, None
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    return library, espeakng_loader.get_data_path().encode()
