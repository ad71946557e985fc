// One sound: plays stretches of it, and tells where it is.
//
//   slmLens.player(sound, onTime) -> {play(start_s, end_s), toggle(), stop(), playing()}
//     sound   {type, bytes: typed array}; its file is made when it is first played
//     onTime(s)   while it sounds, and null when it stops
"use strict";
slmLens.player = (sound, onTime) => {
  let audio = null;
  let end = null;
  let asked = 0;

  function dataUrl() {
    let text = "";
    for (let i = 0; i < sound.bytes.length; i += 8192) {
      text += String.fromCharCode(...sound.bytes.subarray(i, i + 8192));
    }
    return `data:${sound.type};base64,${btoa(text)}`;
  }

  function made() {
    if (audio) return audio;
    audio = new Audio(dataUrl());
    audio.addEventListener("ended", stop);
    audio.addEventListener("pause", () => onTime(null));
    return audio;
  }

  function follow() {
    if (!audio || audio.paused) return;
    if (end !== null && audio.currentTime >= end) {
      stop();
      return;
    }
    onTime(audio.currentTime);
    requestAnimationFrame(follow);
  }

  async function play(start_s, end_s = null) {
    const mine = ++asked;
    const file = made();
    if (file.readyState < 1) {
      await new Promise((resolve) => {
        file.addEventListener("loadedmetadata", resolve, { once: true });
        file.addEventListener("error", resolve, { once: true });
        file.load();
      });
    }
    if (mine !== asked) return;  // another word was chosen meanwhile
    end = end_s;
    file.currentTime = start_s;
    try {
      await file.play();
      follow();
    } catch (error) {
      if (mine === asked) onTime(null);  // stopped before it began, or no device to play on
    }
  }

  function stop() {
    asked += 1;
    if (audio) audio.pause();
    onTime(null);
  }

  const playing = () => Boolean(audio) && !audio.paused;
  const toggle = () => (playing() ? stop() : play(0));
  return { play, toggle, stop, playing };
};
