"use strict";
slmLens.register("waveform", (root, data, context) => {
  const { element } = slmLens;
  const bytes = context.array(data.sound.bytes).values;
  const [outline, n] = [context.array(data.outline).values, data.outline.shape[0]];
  const share = (s) => `${Math.min(100, 100 * s / data.duration_s)}%`;
  const seconds = (s) => `${s.toFixed(2)} s`;

  const canvas = element("canvas", { class: "wave", "aria-hidden": "true", height: 90 });
  const chosen = element("div", { class: "wave-chosen", hidden: true });
  const cursor = element("div", { class: "wave-cursor", hidden: true });
  const clock = element("output", { class: "clock", text: `0.00 of ${seconds(data.duration_s)}` });
  const button = element("button", { type: "button", class: "plain-button play",
    "aria-label": "play the clip", text: "▶ play", onclick: () => player.toggle() });

  const player = slmLens.player({ type: data.sound.type, bytes }, (time) => {
    const sounds = time !== null;
    root.dataset.playing = sounds ? "true" : "false";
    button.textContent = sounds ? "■ stop" : "▶ play";
    button.setAttribute("aria-label", sounds ? "stop" : "play the clip");
    cursor.hidden = !sounds;
    if (sounds) {
      cursor.style.left = share(time);
      clock.textContent = `${time.toFixed(2)} of ${seconds(data.duration_s)}`;
    }
    context.setTime(time);
  }, () => {
    clock.textContent = `this browser does not play ${data.sound.type}`;
  });

  function draw() {
    const width = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio));
    const height = Math.round(90 * devicePixelRatio);
    [canvas.width, canvas.height] = [width, height];
    const pen = canvas.getContext("2d");
    pen.fillStyle = slmLens.variable("--speech");
    const step = Math.max(1, width / n);
    for (let i = 0; i < n; i++) {
      const [low, high] = [outline[2 * i], outline[2 * i + 1]];
      const top = height * (0.5 - high / 256);
      pen.fillRect(i * width / n, top, step, Math.max(devicePixelRatio, height * (high - low) / 256));
    }
  }

  const words = data.words.map((word) => element("button", {
    type: "button", class: "wave-word", text: word.word, tabindex: -1,
    data: { word: word.number, start: word.start_s, end: word.end_s },
    "aria-label": `${word.word}, ${seconds(word.start_s)} to ${seconds(word.end_s)}`,
    title: `${word.word}: ${word.start_s.toFixed(2)} to ${seconds(word.end_s)}`,
    style: { left: share(word.start_s), width: share(word.end_s - word.start_s) },
    onclick() {
      context.select({ word: word.number });
      player.play(word.start_s, word.end_s);
    },
  }));
  const row = element("div", { class: "wave-words", role: "group", "aria-label": "words in time" },
    ...words);

  // About ten seconds to a wide page; longer clips scroll.
  const width = Math.max(100, 100 * data.duration_s / 14);
  const inner = element("div", { class: "wave-inner", style: {
    width: `max(${width}%, ${Math.round(62 * data.duration_s)}px)` } },
    canvas, chosen, cursor, row);
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    player.play(data.duration_s * (event.clientX - box.left) / box.width);
  });
  const frame = element("div", { class: "scroll wave-frame" }, inner);
  root.append(frame, element("p", { class: "wave-controls" }, button, clock));
  slmLens.rove(row, "button");
  root.addEventListener("keydown", (event) => {
    if (event.key !== " ") return;
    event.preventDefault();
    player.toggle();
  });

  root.addEventListener("slm-lens-leave", () => player.stop());
  context.onPlay((start_s, end_s) => player.play(start_s, end_s));
  context.onSelect(({ word }) => {
    words.forEach((made) => {
      const isIt = word !== null && made.dataset.word === `${word}`;
      made.setAttribute("aria-pressed", isIt ? "true" : "false");
      if (!isIt) return;
      const [left, right] = [made.offsetLeft, made.offsetLeft + made.offsetWidth];
      if (left < frame.scrollLeft || right > frame.scrollLeft + frame.clientWidth) {
        frame.scrollLeft = left - frame.clientWidth / 3;
      }
    });
    const found = data.words.find((other) => other.number === word);
    chosen.hidden = !found;
    if (!found) return;
    chosen.style.left = share(found.start_s);
    chosen.style.width = share(found.end_s - found.start_s);
  });
  new ResizeObserver(draw).observe(canvas);
  slmLens.onTheme(draw);
});
