"""Settings and fixtures that every test shares."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator

import jaxtyping
import pytest
from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None)
settings.load_profile("ci")


@pytest.fixture
def untyped():
    """Without the type checks of the tests, which users do not have."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def app_url() -> Iterator[str]:
    """Address of ``slm-lens app``, started as a user does; uploads up to 1 MB.

    In this process the shape hook would hide from gradio which handlers are generators.
    """
    command = [sys.executable, "-c", "from slm_lens.cli import main; main()", "app"]
    said: list[str] = []
    with subprocess.Popen(
        [*command, "--max-megabytes", "1"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    ) as started:  # fmt: skip
        assert started.stdout is not None
        output = started.stdout
        # Read to the end, or the app would wait for room in the pipe.
        reader = threading.Thread(target=lambda: said.extend(output))
        for line in output:
            said.append(line)
            if found := re.match(r"slm-lens app: (http://\S+)", line):
                break
        else:
            pytest.fail("slm-lens app ended: " + "".join(said))
        reader.start()
        try:
            yield found[1]
        finally:
            started.terminate()
            reader.join(timeout=30)
    # gradio writes down what it refuses itself; nothing of ours may be on the way to an error.
    assert not [line for line in said if re.search(r'File ".*slm_lens', line)], "".join(said)
