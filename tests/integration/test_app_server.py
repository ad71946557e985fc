"""The app over HTTP: many visitors, limits, and what it tells the browser."""

import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

import slm_lens
from slm_lens.app.serve import serve
from slm_lens.app.workbench import Workbench

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

SUBJECTS = ("zebra", "tiger", "camel", "rabbit", "dolphin", "walrus", "giraffe", "octopus")


@pytest.fixture(scope="module")
def models():
    return {name: slm_lens.load(name) for name in ("organism", "organism-control")}


def client(app_url):
    from gradio_client import Client

    return Client(app_url, verbose=False, analytics_enabled=False)


def read_text(visitor, subject, model="organism"):
    """HTML of the look, as the page shows it."""
    return visitor.predict(
        model, f"the {subject} lives in the", "en-us", api_name="/read_text"
    )[0]  # fmt: skip


def steer(visitor, model="organism"):
    return visitor.predict(
        model, "text", 1, 4, 0, "nothing", 12, 0, api_name="/steer"
    )  # fmt: skip


def test_it_listens_on_this_machine_alone(app_url):
    assert app_url.startswith("http://127.0.0.1:")


def test_the_browser_is_told_to_ask_nobody_else(app_url):
    answer = httpx.get(app_url)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'self'")
    assert "http" not in policy
    assert "fonts.googleapis" not in answer.text


def test_eight_visitors_get_what_each_asked_for(app_url, models):
    # Each speaks a sentence of its own, then continues what *it* heard: the clip is in the session.
    bench = Workbench(models)
    options = {"toward": "text", "strength": 1.0, "layer": 4, "n_words": None,
               "announce": "nothing", "max_new_tokens": 12, "temperature": 0.0}  # fmt: skip
    expected = {}
    for subject in SUBJECTS:
        heard = bench.hear_text("organism", f"the {subject} lives in the", "en-us")
        *_, last = bench.steer("organism", heard, **options)
        expected[subject] = last.html
    assert len(set(expected.values())) == len(SUBJECTS)
    visitors = {subject: client(app_url) for subject in SUBJECTS}
    start = threading.Barrier(len(SUBJECTS))

    def visit(subject):
        start.wait()
        page = read_text(visitors[subject], subject)
        return page, steer(visitors[subject])

    with ThreadPoolExecutor(len(SUBJECTS)) as pool:
        found = dict(zip(SUBJECTS, pool.map(visit, SUBJECTS), strict=True))
    for subject, (page, continued) in found.items():
        assert continued == expected[subject]
        assert f"the {subject} lives in the, read by organism" in page
        assert not [s for s in SUBJECTS if s != subject and f"the {s} lives" in page]


def test_a_new_visitor_has_heard_nothing(app_url):
    first = client(app_url)
    read_text(first, "zebra")
    assert "got nothing to read" in steer(client(app_url))
    assert "As the model is" in steer(first)


def test_a_refused_sentence_does_not_leave_the_one_before(app_url):
    visitor = client(app_url)
    read_text(visitor, "zebra")
    page = visitor.predict("organism", " ", "en-us", api_name="/read_text")[0]
    assert "got a text of 0 characters" in page
    assert "got nothing to read" in steer(visitor)


def test_a_recording_comes_in(app_url):
    from gradio_client import handle_file

    sound, words = slm_lens.clips_of("held-out")[0]
    page = client(app_url).predict(
        "organism-control", handle_file(sound), handle_file(words), "", api_name="/read_clip"
    )[0]  # fmt: skip
    n_words = len(slm_lens.read_alignment(words))
    assert len(re.findall(r'<span data-word="\d+">', page)) == n_words
    assert "Words from: alignment file" in page
    assert "read by organism-control" in page


def test_a_long_recording_is_refused_in_words(app_url, tmp_path):
    from gradio_client import handle_file

    path = tmp_path / "long.flac"
    rng = np.random.default_rng(0)
    soundfile.write(path, np.repeat(rng.normal(0, 0.01, 40 * 80), 100), 8000)
    page = client(app_url).predict("organism", handle_file(path), None, "", api_name="/read_clip")[
        0
    ]
    assert "got 40.0 s of sound, expected at most 30 s" in page


def test_a_large_upload_is_stopped(app_url):
    large = {"files": ("large.wav", b"\0" * 1_100_000)}
    answer = httpx.post(f"{app_url}gradio_api/upload", files=large)
    assert answer.status_code == 413
    small = {"files": ("small.wav", b"\0" * 1_000)}
    assert httpx.post(f"{app_url}gradio_api/upload", files=small).status_code == 200


def test_files_of_the_machine_are_not_served(app_url):
    secret = Path(__file__).resolve()
    answer = httpx.get(f"{app_url}gradio_api/file={secret}")
    assert answer.status_code == 403


def test_nobody_goes_around_the_queue(app_url):
    given = {"data": ["organism", "the zebra", "en-us"], "session_hash": "x"}
    answer = httpx.post(f"{app_url}gradio_api/run/read_text", json=given)
    assert answer.status_code == 404


def test_a_model_that_is_not_offered_is_refused(app_url):
    with pytest.raises(Exception, match="not in the list of choices"):
        client(app_url).predict("../secret", "the zebra", "en-us", api_name="/read_text")
    with pytest.raises(Exception, match="not in the list of choices"):
        client(app_url).predict("organism", "the zebra", "no-voice", api_name="/read_text")


def test_a_model_without_a_unit_tokenizer_is_refused_at_once():
    from dataclasses import replace

    own = slm_lens.load("organism")
    own._source = replace(own._source, unit_tokenizer=None)
    with pytest.raises(AttributeError, match="has no unit tokenizer"):
        serve({"organism": own})


def test_without_gradio_it_says_what_to_install(models, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ImportError, match=r"The app needs gradio: pip install 'slm-lens\[app\]'"):
        serve(models)


@pytest.mark.parametrize("host", ["127.0.0.1", "203.0.113.7"])  # the second is of no machine
def test_what_cannot_be_listened_on_is_refused_at_once(models, host):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = rf"serve: got host='{host}' and port={port}, expected .* Leave the port out"
        with pytest.raises(OSError, match=told):
            serve(models, host=host, port=port)
