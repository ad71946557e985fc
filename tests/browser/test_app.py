"""The app's main path in a real browser: nothing is asked of another machine, and no error."""

import pytest
import soundfile

import slm_lens

HOSTILE = "zebra </script><img src=x onerror=alert(1)> ${alert(2)} {{7*7}}"
SENTENCE = "the zebra lives in the"
WAIT_MS = 60_000


@pytest.fixture
def visit(browser, app_url):
    """Opens the app; at the end, no error and no request beyond this machine."""
    complaints, requests, contexts = [], [], []

    def open_app(width=1280):
        context = browser.new_context(viewport={"width": width, "height": 900})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("console", lambda m: m.type == "error" and complaints.append(m.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: requests.append(request.url))
        page.on("websocket", lambda socket: requests.append(socket.url))
        page.goto(app_url)
        page.wait_for_selector("#speak")
        return page

    yield open_app
    for context in contexts:
        context.close()
    local = (app_url, app_url.replace("http", "ws"), "data:", "blob:", "about:")
    assert requests
    assert [url for url in requests if not url.startswith(local)] == []
    assert complaints == []


def read(page, sentence):
    page.fill("#sentence textarea", sentence)
    page.click("#speak")
    page.wait_for_selector("#look-out iframe, #look-out [role=alert]")


def frame(page, out):
    """The page of a view in its frame, drawn."""
    shown = page.frame_locator(f"{out} iframe")
    shown.locator("html[data-ready=true]").wait_for(state="attached")
    return shown


def test_the_main_path_from_a_sentence_to_a_continuation(visit):
    page = visit()
    read(page, SENTENCE)
    words = page.locator("#look-out [data-card=heard] [data-word]")
    assert [w.split()[0] for w in words.all_inner_texts()] == SENTENCE.split()
    kinds = frame(page, "#look-out").locator("section.view").evaluate_all(
        "sections => sections.map(s => s.dataset.kind)"
    )  # fmt: skip
    assert {"waveform", "speech_tokens", "lens_grid", "attention"} <= set(kinds)
    # The frame is as high as what is in it.
    inside = frame(page, "#look-out").locator("html").evaluate("e => e.scrollHeight")
    page.wait_for_function(
        "h => document.querySelector('#look-out iframe').clientHeight >= h", arg=inside
    )

    page.get_by_role("tab", name="Exchange a word").click()
    assert page.locator("#word input").input_value() == "2 zebra"
    page.fill("#replacement input, #replacement textarea", "tiger")
    page.click("#patch")
    page.wait_for_selector("#patch-out [data-layer='7']")
    cells = page.locator("#patch-out [data-place='2 zebra (tiger)']").evaluate_all(
        "cells => cells.map(c => [Number(c.dataset.layer), Number(c.dataset.value)])"
    )  # fmt: skip
    shares = dict(cells)
    assert sorted(shares) == list(range(8))
    assert shares[0] > 0.5 > shares[7]  # docs/causal: the word matters below, the end above

    page.get_by_role("tab", name="Compare").click()
    page.click("#compare")
    page.wait_for_selector("#compare-out iframe")
    page.wait_for_function("!document.querySelector('#compare-out progress')")
    assert frame(page, "#compare-out").locator("section.view[data-kind=lens_grid]").count() == 2

    page.get_by_role("tab", name="Steer").click()
    page.click("#steer")
    page.wait_for_selector("#steer-out [data-strength='1']")
    plain = page.locator("#steer-out [data-strength='0']")
    assert plain.locator("[data-unit]").count() > 0
    page.wait_for_function("document.querySelector('#steer-out audio').duration > 0.2")
    assert "The model has no voice" in plain.inner_text()


def test_a_new_sentence_is_shown_and_takes_results_of_the_old_one_away(visit):
    page = visit()
    read(page, SENTENCE)
    page.get_by_role("tab", name="Steer").click()
    page.click("#steer")
    page.wait_for_selector("#steer-out [data-strength='1']")
    page.fill("#sentence textarea", "")
    page.click("#speak")
    page.wait_for_selector("#look-out [role=alert]:visible")  # the answer is in sight
    assert "got a text of 0 characters" in page.locator("#look-out").inner_text()
    page.get_by_role("tab", name="Steer").click()
    assert page.locator("#steer-out").inner_text().strip() == ""
    page.click("#steer")
    page.wait_for_selector("#steer-out [role=alert]")
    page.get_by_label("organism-control").first.check()
    page.wait_for_function("!document.querySelector('#steer-out [role=alert]')")


def test_a_wav_file_with_its_text(visit, tmp_path):
    sound, words = slm_lens.clips_of("held-out")[0]
    wav = tmp_path / "story.wav"
    samples, rate_hz = soundfile.read(sound)
    soundfile.write(wav, samples, rate_hz)
    said = " ".join(w.word for w in slm_lens.read_alignment(words))
    page = visit()
    page.get_by_role("tab", name="Record or upload").click()
    page.set_input_files("#clip input[type=file]", wav)
    page.wait_for_selector(
        "#clip :text('story.wav'), #clip #waveform, #clip audio", state="attached"
    )
    page.fill("#said textarea, #said input", said)
    page.click("#listen")
    page.wait_for_selector("#look-out iframe, #look-out [role=alert]")
    heard = page.locator("#look-out [data-card=heard]")
    assert heard.locator("h2").inner_text() == "story"
    assert heard.locator("[data-word]").count() == len(said.split())
    assert "Their times are rough" in heard.inner_text()


def test_a_recording_from_the_microphone(browser_with, app_url, tmp_path):
    sound, _ = slm_lens.clips_of("held-out")[0]
    wav = tmp_path / "voice.wav"
    soundfile.write(wav, *soundfile.read(sound))
    listening = browser_with(
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={wav}",
    )
    page = listening.new_context(permissions=["microphone"]).new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(app_url)
    page.get_by_role("tab", name="Record or upload").click()
    page.click("#clip button[aria-label='Record audio']")
    page.click("#clip button:has-text('Record')")
    page.wait_for_timeout(2500)
    page.click("#clip button:has-text('Stop'):visible")
    page.wait_for_selector("#clip #waveform audio, #clip .waveform-container", state="attached")
    page.wait_for_timeout(1000)  # while it is sent
    page.click("#listen")
    page.wait_for_selector("#look-out iframe, #look-out [role=alert]")
    seconds = page.locator("#look-out [data-card=heard] p").first.inner_text()
    assert 1.5 < float(seconds.split(" s,")[0]) < 10
    assert page.get_by_label("Share").count() == 0  # gradio would send the clip elsewhere


def test_hostile_text_is_text(visit):
    page = visit()
    read(page, HOSTILE)
    heard = page.locator("#look-out [data-card=heard] h2, #look-out [role=alert]")
    assert "onerror=alert(1)" in heard.inner_text()
    frame(page, "#look-out").get_by_text("onerror=alert(1)").first.wait_for()
    assert page.locator("img[src=x]").count() == 0
    assert frame(page, "#look-out").locator("img").count() == 0
    page.get_by_role("tab", name="Exchange a word").click()
    page.fill("#replacement input, #replacement textarea", "<img/src=x/onerror=alert(3)>")
    page.click("#patch")
    page.wait_for_selector("#patch-out [data-layer='7'], #patch-out [role=alert]")
    page.get_by_role("tab", name="Steer").click()
    page.fill("#toward input", "<b>nothing")
    page.press("#toward input", "Enter")
    page.click("#steer")
    page.wait_for_selector("#steer-out [role=alert], #steer-out [data-strength='1']")
    assert page.locator("img[src=x]").count() == 0


def test_a_wrong_input_is_answered_in_words(visit):
    page = visit()
    read(page, "a" * 401)
    alert = page.locator("#look-out [role=alert]").inner_text()
    assert "got a text of 401 characters, expected 1 to 400" in alert
    page.get_by_role("tab", name="Steer").click()
    page.click("#steer")
    page.wait_for_selector("#steer-out [role=alert]")
    assert "got nothing to read" in page.locator("#steer-out").inner_text()


def test_a_run_can_be_stopped(visit):
    page = visit()
    read(page, "the zebra lives in the desert and the zebra is happy")
    page.get_by_role("tab", name="Exchange a word").click()
    page.fill("#replacement input, #replacement textarea", "tiger")
    page.click("#patch")
    page.click("#patch-stop")
    # The app goes on answering: nothing is held by the run that was stopped.
    page.get_by_role("tab", name="Steer").click()
    page.click("#steer")
    page.wait_for_selector("#steer-out [data-strength='1']")


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_window(visit, no_overflow, width):
    page = visit(width)
    no_overflow(page)
    read(page, "the zebra lives in the")
    frame(page, "#look-out")
    no_overflow(page)
