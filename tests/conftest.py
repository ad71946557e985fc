"""Settings and fixtures that every test shares."""

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
    command = [sys.executable, "-c", "from slm_lens.cli import main; main()"]
    started = subprocess.Popen(
        [*command, "app", "--max-megabytes", "1"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    said: list[str] = []
    try:
        assert started.stdout is not None
        for line in started.stdout:
            said.append(line)
            if found := re.match(r"slm-lens app: (http://\S+)", line):
                break
        else:
            pytest.fail("slm-lens app ended: " + "".join(said))
        # What it says later is read as well, or it would wait for room in the pipe.
        threading.Thread(target=lambda: said.extend(started.stdout or ()), daemon=True).start()
        yield found[1]
    finally:
        started.terminate()
        started.wait(timeout=30)
    assert not [line for line in said if "Traceback" in line], "".join(said)
