// One sound: plays stretches of it to the sample, and tells where it is.
//
//   slmLens.player(sound, onTime, onFail) -> {play(start_s, end_s), toggle(), stop(), playing()}
//     sound   {type, bytes: typed array}; decoded when it is first played
//     onTime(s)   while it sounds, and null when it stops;  onFail()   where it cannot be decoded
//
// Decoded samples rather than an audio element: Chromium cannot seek in a FLAC file of under a
// second, and an element stops up to a frame late, which for a short word is the next word.
"use strict";
slmLens.player = (sound, onTime, onFail) => {
  let output = null;
  let decoded = null;
  let source = null;
  let asked = 0;

  async function play(start_s, end_s = null) {
    stop();
    const mine = ++asked;
    output = output || new AudioContext();
    decoded = decoded || output.decodeAudioData(sound.bytes.slice().buffer);
    let samples = null;
    try {
      [samples] = await Promise.all([decoded, output.resume()]);
    } catch (error) {
      onFail();
      return;
    }
    if (mine !== asked) return;  // another word was chosen, or it was stopped, meanwhile
    const end = Math.min(end_s === null ? samples.duration : end_s, samples.duration);
    source = output.createBufferSource();
    source.buffer = samples;
    source.connect(output.destination);
    source.onended = () => mine === asked && stop();
    const begin = output.currentTime;
    source.start(0, start_s, Math.max(0, end - start_s));
    const follow = () => {
      if (mine !== asked) return;
      onTime(Math.min(end, start_s + output.currentTime - begin));
      requestAnimationFrame(follow);
    };
    follow();
  }

  function stop() {
    asked += 1;
    if (source) {
      source.onended = null;
      source.stop();
      source = null;
      onTime(null);
    }
  }

  const playing = () => source !== null;
  const toggle = () => (playing() ? stop() : play(0));
  return { play, toggle, stop, playing };
};
