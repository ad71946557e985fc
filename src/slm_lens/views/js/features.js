"use strict";
slmLens.register("features", (root, data, context) => {
  const { element, choice, number, written } = slmLens;
  const N_AROUND = 2;  // words before and after the peak whose units are shown
  const state = { order: 0, tag: 0, chosen: null };
  const tags = [...new Set(data.features.map((feature) => feature.tag).filter(Boolean))];
  const best = (feature) => Math.max(feature.f1_speech || 0, feature.f1_text || 0);
  const orders = [
    ["as they come", () => 0],
    ["best word", (a, b) => best(b) - best(a)],
    ["most often active", (a, b) => b.n_active - a.n_active],
    ["share of speech", (a, b) => (b.speech_share ?? -1) - (a.speech_share ?? -1)],
    ["number", (a, b) => a.number - b.number],
  ];

  // One player for each clip, made when it is first heard; one clip sounds at a time.
  const players = new Map();
  let sounding = null;
  const says = element("p", { class: "status", role: "status",
    text: "Choose a feature in the list; click a spoken word to hear it." });
  function play(sound, start_s, end_s) {
    if (sounding) sounding.stop();
    if (!players.has(sound)) {
      const sent = data.sounds[sound];
      const bytes = context.array(sent.bytes).values;
      players.set(sound, slmLens.player({ type: sent.type, bytes }, (time) => {
        root.dataset.playing = time === null ? "false" : "true";
      }, () => (says.textContent = `this browser does not play ${sent.type}`)));
    }
    sounding = players.get(sound);
    sounding.play(start_s, end_s);
  }
  root.addEventListener("slm-lens-leave", () => sounding && sounding.stop());

  const label = (feature) => {
    const words = [feature.word_speech && `♪ ${feature.word_speech}`, feature.word_text];
    return [...new Set(words.filter(Boolean))].join(", ");
  };
  const list = element("div", { class: "feature-list", role: "listbox", "aria-label": "features" });
  const detail = element("div", { class: "feature-detail", "aria-live": "polite" });

  function fill() {
    const shown = data.features.filter((f) => state.tag === 0 || f.tag === tags[state.tag - 1]);
    const sorted = state.order === 0 ? shown : [...shown].sort(orders[state.order][1]);
    list.replaceChildren(...sorted.map((feature) => element("button", {
      type: "button", class: `feature-entry ${feature.tag || ""}`, role: "option",
      data: { feature: feature.number },
      "aria-selected": feature.number === state.chosen ? "true" : "false",
      onclick: () => choose(feature.number),
    }, element("span", { class: "feature-number", text: `${feature.number}` }),
    element("span", { class: "feature-tag", text: feature.tag || "" }),
    element("span", { class: "feature-words", text: label(feature) }))));
    slmLens.rove(list, "button");
  }

  function choose(chosen) {
    state.chosen = chosen;
    for (const entry of list.children) {
      entry.setAttribute("aria-selected", entry.dataset.feature === `${chosen}` ? "true" : "false");
    }
    draw();
  }

  function fact(name, value) {
    return element("div", { class: "fact" }, element("dt", { text: name }),
      element("dd", { text: value }));
  }

  function detector(feature, modality) {
    const word = feature[`word_${modality}`];
    if (!word) return null;
    const [f1, auroc] = [feature[`f1_${modality}`], feature[`auroc_${modality}`]];
    return fact(modality === "speech" ? "word, spoken" : "word, written",
      `${word} (F1 ${number(f1)}, AUROC ${number(auroc)}, n = ${feature[`n_${modality}`]})`);
  }

  function histogram(feature) {
    const { speech, text } = feature.histogram;
    const highest = Math.max(1, ...speech.map((n, i) => n + text[i]));
    const bars = speech.map((n, i) => {
      const from = feature.peak * i / speech.length;
      const to = feature.peak * (i + 1) / speech.length;
      const bar = (kind, count) => element("span", { class: `bar ${kind}`,
        style: { height: `${100 * count / highest}%` } });
      return element("span", { class: "bin",
        title: `${number(from, 1)} to ${number(to, 1)}: ${n} speech, ${text[i]} text` },
        bar("text", text[i]), bar("speech", n));
    });
    const sum = (counts) => counts.reduce((a, b) => a + b, 0);
    return element("figure", { class: "histogram" },
      element("div", { class: "bins", role: "img",
        "aria-label": `histogram of activations: ${sum(speech)} positions of speech, ${sum(text)} of `
          + "text" }, ...bars),
      element("div", { class: "axis" }, element("span", { text: "0" }),
        element("span", { text: "activation" }), element("span", { text: number(feature.peak, 1) })),
      element("figcaption", {}, element("span", { class: "sample speech" }),
        `speech (${sum(speech)})`, element("span", { class: "sample text" }), `text (${sum(text)})`,
        `; highest bar ${highest}`));
  }

  function tokens(name, entries) {
    return element("div", { class: "token-list" }, element("h4", { text: name }),
      element("ol", {}, ...entries.map(({ label: text, logit }) => element("li", {},
        element("span", { class: "name", text: written(text) }),
        element("span", { class: "logit", text: number(logit) })))));
  }

  function painted(made, share) {
    if (share > 0) {
      const colour = slmLens.sequential(0.12 + 0.75 * share);
      made.style.background = slmLens.css(colour);
      made.style.color = slmLens.inkOn(colour);
    }
    return made;
  }

  function example(feature, sent) {
    const utterance = data.utterances[sent.utterance];
    const activations = new Float32Array(utterance.positions.length);
    const { values } = context.array(sent.activations);
    context.array(sent.positions).values.forEach((p, i) => (activations[p] = values[i]));
    let peak = 0;
    activations.forEach((x, p) => { if (x > activations[peak]) peak = p; });
    const ofWord = utterance.words.map(() => 0);
    utterance.positions.forEach(({ word }, p) => {
      if (word !== null) ofWord[word] = Math.max(ofWord[word], activations[p]);
    });
    const canSound = utterance.sound !== null;
    const at = utterance.positions[peak].word;
    // Positions between words go with the word before them.
    const wordAt = [];
    utterance.positions.forEach(({ word }, p) => wordAt.push(word ?? (p ? wordAt[p - 1] : 0)));
    const near = (word) => word >= wordAt[peak] - N_AROUND && word <= wordAt[peak] + N_AROUND;
    const around = utterance.words.filter((word, i) => near(i) && word.start_s !== null);

    const chips = utterance.words.map((word, i) => painted(element("button", {
      type: "button", class: "word-chip", text: word.written, data: { word: i },
      disabled: canSound && word.start_s !== null ? undefined : true,
      title: `${word.written}: ${number(ofWord[i])}`,
      "aria-label": `${word.written}, activation ${number(ofWord[i])}`,
      onclick: () => play(utterance.sound, word.start_s, word.end_s),
    }), ofWord[i] / feature.peak));
    const cells = [];
    utterance.positions.forEach((position, p) => {
      if (!near(wordAt[p])) return;
      const name = position.unit !== null ? `${position.unit}` : written(position.label);
      cells.push(painted(element("span", { class: `cell ${position.kind}`, text: name,
        data: { position: p, value: activations[p] },
        title: `position ${p}, ${position.label}: ${number(activations[p])}` }),
      activations[p] / feature.peak));
      if (p + 1 < wordAt.length && wordAt[p + 1] !== wordAt[p] && near(wordAt[p + 1])) {
        cells.push(element("span", { class: "gap", "aria-hidden": "true", text: "|" }));
      }
    });
    const sounds = canSound && around.length ? [
      element("button", { type: "button", class: "plain-button hear-peak", text: "▶ around the peak",
        onclick: () => play(utterance.sound, around[0].start_s, around[around.length - 1].end_s) }),
      element("button", { type: "button", class: "plain-button hear-clip", text: "▶ clip",
        onclick: () => play(utterance.sound, 0, null) }),
      element("button", { type: "button", class: "plain-button", text: "■",
        "aria-label": "stop", onclick: () => sounding && sounding.stop() }),
    ] : [];
    const where = at === null ? utterance.positions[peak].label : utterance.words[at].written;
    return element("article", { class: `example ${utterance.modality}`,
      data: { utterance: utterance.name } },
      element("header", {},
        element("span", { class: "example-name", text: utterance.name.replace(/, written$/, "") }),
        element("span", { class: "example-kind",
          text: utterance.modality === "speech" ? "spoken" : "written" }),
        element("span", { class: "example-peak",
          text: `peak ${number(activations[peak])} at “${where}”` }), ...sounds),
      element("div", { class: "chips" }, ...chips),
      utterance.modality === "speech"
        ? element("div", { class: "cells", "aria-label": "units around the peak" }, ...cells) : null);
  }

  function draw() {
    const feature = data.features.find((f) => f.number === state.chosen);
    const facts = [
      feature.tag && fact("tag", feature.tag),
      feature.speech_share !== undefined && feature.speech_share !== null
        && fact("speech among top positions", `${Math.round(100 * feature.speech_share)} %`),
      feature.density !== undefined && fact("active at", `${number(100 * feature.density, 1)} % of `
        + "a sample of as much speech as text"),
      fact("mean where active", number(feature.mean_active)),
      detector(feature, "speech"), detector(feature, "text"),
      feature.top_speech && fact("most active at, spoken", feature.top_speech),
      feature.top_text && fact("most active at, written", feature.top_text),
    ].filter(Boolean);
    const examples = feature.examples.map((sent) => example(feature, sent));
    detail.replaceChildren(
      element("h3", { text: `Feature ${feature.number}` }),
      element("dl", { class: "facts" }, ...facts),
      element("div", { class: "feature-row" }, histogram(feature),
        tokens("promoted", feature.promoted), tokens("suppressed", feature.suppressed)),
      element("h4", { text: examples.length ? "Examples" : "No held-out utterance has it" }),
      ...examples);
  }

  root.append(says, element("div", { class: "feature-controls" },
    choice("order", orders.map(([name]) => name), 0, (i) => { state.order = i; fill(); }),
    choice("tag", ["all", ...tags], 0, (i) => { state.tag = i; fill(); })),
  element("div", { class: "feature-panes" }, list, detail));
  fill();
  choose(data.features[0].number);
  slmLens.onTheme(draw);
});
