// One neuron along the sentence: bars by position, and the tokens in its colours.
"use strict";
slmLens.register("activations", (root, data, context) => {
  const { element, choice, number } = slmLens;
  const n = data.positions.length;
  const state = { layer: 0, neuron: 0, at: null, sorted: [] };
  const value = (p) => context.array(data.values[state.layer]).values[state.neuron * n + p];

  // Neurons of the layer, those first whose activation is largest somewhere.
  function byLargest() {
    const { values } = context.array(data.values[state.layer]);
    const most = data.names.map((_, i) => {
      let largest = 0;
      for (let p = i * n; p < (i + 1) * n; p++) largest = Math.max(largest, Math.abs(values[p]));
      return largest;
    });
    return data.names.map((_, i) => i).sort((a, b) => most[b] - most[a]);
  }
  let range = [0, 1];
  function measure() {
    let [low, high] = [0, 0];
    for (let p = 0; p < n; p++) [low, high] = [Math.min(low, value(p)), Math.max(high, value(p))];
    range = low === high ? [0, 1] : [low, high];
  }
  const largest = () => Math.max(-range[0], range[1]);
  const digits = () => Math.max(2, 2 - Math.floor(Math.log10(largest())));
  const paint = (p) => slmLens.diverging(value(p) / largest());
  const note = (p) => `${data.quantity} ${number(value(p), digits())}`;
  const strip = slmLens.strip(data, context, { paint, note, onPointed(p) { mark(p); } });

  const HEIGHT = 110;
  const SVG = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "course");
  svg.setAttribute("role", "img");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("viewBox", `0 0 ${n} ${HEIGHT}`);
  const bars = data.positions.map((_, p) => {
    const bar = document.createElementNS(SVG, "rect");
    bar.setAttribute("x", p + 0.08);
    bar.setAttribute("width", 0.84);
    bar.dataset.position = p;
    svg.append(bar);
    return bar;
  });
  const scale = element("div", { class: "course-scale" });
  function drawCourse() {
    const [low, high] = range;
    const y = (x) => (high - x) / (high - low) * HEIGHT;
    bars.forEach((bar, p) => {
      const x = value(p);
      bar.setAttribute("y", Math.min(y(x), y(0)));
      bar.setAttribute("height", Math.abs(y(x) - y(0)) + 0.6);
      bar.dataset.value = x;
      bar.setAttribute("class", data.positions[p].kind);
    });
    svg.setAttribute("aria-label", `${data.quantity} by position, from ${number(low, digits())} to ${
      number(high, digits())}`);
    scale.replaceChildren(element("span", { text: number(high, digits()) }),
      element("span", { text: number(low, digits()) }));
  }
  function mark(p) {
    const at = p === null ? state.at : p;
    bars.forEach((bar, i) => bar.classList.toggle("marked", i === at));
  }
  svg.addEventListener("mousemove", (event) => {
    const box = svg.getBoundingClientRect();
    const p = Math.min(n - 1, Math.max(0, Math.floor((event.clientX - box.left) / box.width * n)));
    strip.status.textContent = `${slmLens.told(data, p)} · ${note(p)}`;
    mark(p);
  });
  svg.addEventListener("click", (event) => {
    const p = event.target.dataset.position;
    if (p !== undefined) strip.cells[Number(p)].click();
  });

  const controls = element("div", { class: "controls" });
  const neurons = element("span");
  function fillNeurons() {
    state.sorted = byLargest();
    state.neuron = state.sorted[0];
    neurons.replaceChildren(choice("neuron", state.sorted.map((i) => data.names[i]), 0, (i) => {
      state.neuron = state.sorted[i];
      redraw();
    }));
  }
  let layers = null;
  if (data.layers.length > 1) {
    layers = choice("layer", data.layers.map(String), 0, (i) => {
      state.layer = i;
      fillNeurons();
      redraw();
      context.select({ layer: data.layers[i] });
    });
    controls.append(layers);
  }
  controls.append(neurons);
  const bar = element("div");
  function redraw() {
    measure();
    const most = largest();
    bar.replaceChildren(slmLens.colourBar(data.quantity,
      [-1, -0.67, -0.33, 0, 0.33, 0.67, 1].map((t) => slmLens.diverging(t)),
      [number(-most, digits()), "0", number(most, digits())]));
    drawCourse();
    strip.refresh();
    root.dataset.layer = data.layers[state.layer];
    root.dataset.neuron = data.names[state.neuron];
  }
  root.append(controls, bar, element("div", { class: "course-holder" }, scale, svg), strip.root);
  context.onSelect((selection) => {
    const layer = data.layers.indexOf(selection.layer);
    if (layer >= 0 && layer !== state.layer) {
      state.layer = layer;
      if (layers) layers.querySelector("select").value = layer;
      fillNeurons();
      redraw();
    }
    state.at = selection.position;
    mark(null);
  });
  slmLens.onTheme(redraw);
  fillNeurons();
  redraw();
});
