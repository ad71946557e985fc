// Tokens in the colour of a number; which set of numbers is a choice.
"use strict";
slmLens.register("coloured_tokens", (root, data, context) => {
  const { element, choice, number } = slmLens;
  const { values } = context.array(data.values);
  const n = data.positions.length;
  const state = { set: 0, common: data.names.length > 1 };
  const at = (set, p) => values[set * n + p];

  function largest() {
    const from = state.common ? 0 : state.set * n;
    const to = state.common ? values.length : from + n;
    let most = 0;
    for (let i = from; i < to; i++) if (Math.abs(values[i]) > most) most = Math.abs(values[i]);
    return most || 1;
  }
  let scale = largest();
  const digits = () => Math.max(2, 2 - Math.floor(Math.log10(scale)));

  function paint(p) {
    const value = at(state.set, p);
    return Number.isFinite(value) ? slmLens.diverging(value / scale) : null;
  }
  function note(p) {
    const value = at(state.set, p);
    const parts = [`${data.names[state.set]}: ${number(value, digits())} ${data.quantity}`];
    const word = data.words[data.positions[p].word];
    if (word && word.end - word.start > 1) {
      let sum = 0;
      for (let q = word.start; q < word.end; q++) sum += at(state.set, q) || 0;
      parts.push(`sum over the word ${number(sum, digits())}`);
    }
    return parts.join(" · ");
  }
  const strip = slmLens.strip(data, context, { paint, note });
  const bar = element("div");
  function redraw() {
    scale = largest();
    const colours = [-1, -0.67, -0.33, 0, 0.33, 0.67, 1].map((t) => slmLens.diverging(t));
    bar.replaceChildren(slmLens.colourBar(data.quantity, colours,
      [number(-scale, digits()), "0", number(scale, digits())]));
    strip.refresh();
    strip.cells.forEach((cell, p) => { cell.dataset.value = at(state.set, p); });
    root.dataset.set = data.names[state.set];
  }

  const controls = element("div", { class: "controls" });
  const sets = choice("show", data.names, 0, (i) => {
    state.set = i;
    if (data.layers[i] !== null) context.select({ layer: data.layers[i] });
    redraw();
  });
  if (data.names.length > 1) {
    controls.append(sets, choice("scale", ["of all", "of this one"], 0, (i) => {
      state.common = i === 0;
      redraw();
    }));
  }
  root.append(controls, bar, strip.root);
  context.onSelect((selection) => {
    // The same kind of set at the layer that another view selected, where there is one.
    if (selection.layer === null || data.layers[state.set] === null
      || data.layers[state.set] === selection.layer) return;
    const kind = (name) => name.replace(/\d+/, "");
    const same = data.names.findIndex((name, i) => data.layers[i] === selection.layer
      && kind(name) === kind(data.names[state.set]));
    if (same < 0) return;
    state.set = same;
    sets.querySelector("select").value = same;
    redraw();
  });
  slmLens.onTheme(redraw);
  redraw();
});
