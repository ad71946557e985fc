"use strict";
slmLens.register("patching_map", (root, data, context) => {
  const { element, number, choice, cellGrid } = slmLens;
  const state = { panel: 0, layer: null };
  const frame = element("div", {});
  const status = element("p", { class: "status", role: "status" });
  let grid = null;

  const panel = () => data.panels[state.panel];
  const rowOf = (layer) => panel().layers.length - 1 - panel().layers.indexOf(layer);
  const layerAt = (r) => panel().layers[panel().layers.length - 1 - r];

  function effect(layer, c) {
    const { values, shape } = context.array(panel().effect);
    const found = values[panel().layers.indexOf(layer) * shape[1] + c];
    return Number.isNaN(found) ? null : found;
  }

  function largest() {
    let most = 1e-9;
    for (const x of context.array(panel().effect).values) if (Math.abs(x) > most) most = Math.abs(x);
    return most;
  }

  const called = (place) => (place.word === null ? place.label : data.words[place.word].word);

  function told(layer, c) {
    const place = panel().places[c];
    const into = called(place) === place.label ? "" : `, states of “${place.label}”`;
    return `“${called(place)}” (position ${place.position})${into}, layer ${layer}: `
      + `effect ${number(effect(layer, c), 3)}`;
  }

  function draw() {
    const most = largest();
    grid = cellGrid({
      label: `${data.direction}: ${panel().name}`, corner: "layer",
      columns: panel().places.map((place) => ({
        class: "speech", data: { position: place.position, word: place.word ?? "" },
        title: `${called(place)}, position ${place.position}`,
        parts: [element("span", { class: "written", text: called(place) }),
          element("span", { class: "seconds",
            text: called(place) === place.label ? "" : `← ${place.label}` })],
        onclick: () => context.select({ word: place.word }),
      })),
      rows: [...panel().layers].reverse().map((layer) => ({ text: `${layer}` })),
      cell(r, c) {
        const value = effect(layerAt(r), c);
        return {
          text: number(value), title: told(layerAt(r), c),
          colour: value === null ? null : slmLens.diverging(0.9 * value / most),
          class: "numeric", data: { layer: layerAt(r), place: c, effect: value ?? "" },
        };
      },
      onShown: (r, c) => (status.textContent = told(layerAt(r), c)),
      onChosen(r, c) {
        const { word, position } = panel().places[c];
        state.layer = layerAt(r);
        context.select({ word, position, layer: null });
        mark(context.selection());
      },
    });
    frame.replaceChildren(grid.root);
    const { clean, corrupted } = panel();
    status.textContent = `Clean run ${number(clean, 3)}, corrupted run ${number(corrupted, 3)}.`;
    mark(context.selection());
  }

  function mark({ word, position }) {
    const marked = new Set();
    panel().places.forEach((place, c) => {
      if (word !== null ? place.word === word : place.position === position) marked.add(c);
    });
    grid.mark(state.layer === null ? -1 : rowOf(state.layer), marked);
    if (marked.size) grid.reveal(Math.min(...marked));
  }

  if (data.panels.length > 1) {
    root.append(choice("measured and patched", data.panels.map(({ name }) => name), 0, (i) => {
      [state.panel, state.layer] = [i, null];
      draw();
    }));
  }
  root.append(frame, status);
  draw();
  context.onSelect(mark);
});
