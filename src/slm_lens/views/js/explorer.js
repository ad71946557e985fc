"use strict";
slmLens.register("explorer", (root, data, context) => {
  const { element, choice } = slmLens;
  const state = { model: 0, utterance: 0 };
  const place = element("div", { class: "explored" });
  let asked = 0;

  async function unpacked(packed) {
    const bytes = context.array(packed).values;
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }

  const nameOf = ({ name, words }, i) => {
    const few = words.split(" ").slice(0, 6).join(" ");
    return `${i + 1}. ${name}: ${few}${few.length < words.length ? " …" : ""}`;
  };

  function part(kind, title, sent, shared) {
    const drawing = element("div", { class: "drawing", role: "group", "aria-label": title });
    const section = element("section", { class: "part", data: { part: kind } },
      element("h3", { text: title }), drawing);
    place.append(section);  // views measure themselves where they stand
    slmLens.drawing(kind)(drawing, sent, shared);
  }

  async function show() {
    const mine = ++asked;
    root.dataset.shown = "";
    const { grid, tokens } = await unpacked(data.packed[state.model][state.utterance]);
    if (mine !== asked) return;  // another one was chosen meanwhile
    for (const old of place.querySelectorAll(".drawing")) {
      old.dispatchEvent(new Event("slm-lens-leave"));
    }
    place.replaceChildren();
    const shared = slmLens.newContext();
    const sound = data.sounds[state.utterance];
    const reader = data.models[state.model];
    if (sound) part("waveform", "Sound", sound, shared);
    part("lens_grid", `Lens grid of ${reader}`, grid, shared);
    part("speech_tokens", `What ${reader} reads`, tokens, shared);
    root.dataset.shown = `${reader} ${data.utterances[state.utterance].name}`;
    earlier.disabled = state.utterance === 0;
    later.disabled = state.utterance === data.utterances.length - 1;
  }

  const chooseModel = choice("model", data.models, 0, (i) => {
    state.model = i;
    show();
  });
  const chooseUtterance = choice("utterance", data.utterances.map(nameOf), 0, (i) => {
    state.utterance = i;
    show();
  });
  const step = (by) => {
    state.utterance += by;
    chooseUtterance.querySelector("select").value = state.utterance;
    show();
  };
  const earlier = element("button", { type: "button", class: "plain-button", text: "‹ previous",
    onclick: () => step(-1) });
  const later = element("button", { type: "button", class: "plain-button", text: "next ›",
    onclick: () => step(1) });
  root.append(element("div", { class: "explorer-controls" },
    data.models.length > 1 ? chooseModel : null, chooseUtterance, earlier, later), place);
  show().catch((error) => {
    place.textContent = `This utterance could not be shown: ${error.message}`;
    console.error(error);
  });
});
