// Attention by head: thumbnails, one large map on a canvas, and the tokens coloured by what is read.
"use strict";
slmLens.register("attention", (root, data, context) => {
  const { element, choice, number } = slmLens;
  const n = data.positions.length;
  const groups = data.groups.filter((group) => group.end > group.start);
  const groupOf = [];
  groups.forEach((group, i) => { for (let p = group.start; p < group.end; p++) groupOf[p] = i; });
  const modalities = ["speech", "text"].filter((kind) => groups.some((group) => group.kind === kind));
  const PAIRS = [null, ["speech", "text"], ["text", "speech"], ["speech", "speech"], ["text", "text"]];
  const state = { layer: 0, head: 0, byWord: false, pair: null, reads: true, linear: false,
    at: null, pointed: null };

  const headAt = () => state.layer * data.n_heads + state.head;
  const decode = (byte) => (byte / 255) ** 2;
  // Bytes of the head that is shown; asked for once a drawing, not once a cell.
  let byPosition = null;
  let byGroup = null;
  function load() {
    byPosition = context.array(data.patterns[headAt()]).values;
    byGroup = context.array(data.by_word[headAt()]).values;
  }
  function byteAt(query, key) {
    if (!data.causal) return byPosition[query * n + key];
    return key > query ? 0 : byPosition[query * (query + 1) / 2 + key];
  }
  const byteOfGroup = (query, key) => byGroup[query * groups.length + key];
  const attention = (query, key) => decode(byteAt(query, key));
  const byWord = (query, key) => decode(byteOfGroup(query, key));
  const shade = (value) => (state.linear ? value : Math.sqrt(value));
  const nameOfHead = () => `layer ${data.layers[state.layer]}, head ${state.head}`;
  const nameOfGroup = (i) => (groups[i].word === null
    ? (groups[i].kind === "speech" ? "–" : slmLens.short(data.positions[groups[i].start]))
    : data.words[groups[i].word].word);

  const map = slmLens.attentionMap({
    groups, groupOf, nameOfGroup, state,
    bytes: () => (state.byWord ? byteOfGroup : byteAt), decode, shade,
    onPoint: (query, key) => tell(query, key),
    onChoose: (query) => {
      const position = state.byWord ? groups[query].start : query;
      const word = groups[groupOf[position]].word;
      context.select({ word, position, layer: data.layers[state.layer] });
    },
  });

  function tell(query, key) {
    if (query === null) return;
    const names = state.byWord ? [nameOfGroup(query), nameOfGroup(key)].map((name) => `“${name}”`)
      : [query, key].map((p) => `${p} (${slmLens.short(data.positions[p])}${
        groups[groupOf[p]].word === null ? "" : ` in “${nameOfGroup(groupOf[p])}”`})`);
    const value = state.byWord ? byWord(query, key) : attention(query, key);
    strip.status.textContent = `${nameOfHead()} · ${number(value, 3)} · ${names[0]} reads ${names[1]}`;
    point(state.byWord ? groups[query].start : query);
  }

  // What the pointed or selected position reads, or what reads it.
  function paint(p) {
    const at = state.pointed === null ? state.at : state.pointed;
    if (at === null) return null;
    const value = state.reads ? attention(at, p) : attention(p, at);
    return slmLens.sequential(shade(value));
  }
  function note(p) {
    const at = state.at;
    if (at === null || at === p) return "";
    return state.reads ? `read by ${at} with ${number(attention(at, p), 3)}`
      : `reads ${at} with ${number(attention(p, at), 3)}`;
  }
  let queued = false;
  function point(p) {
    state.pointed = p;
    if (queued) return;
    queued = true;
    requestAnimationFrame(() => { queued = false; strip.refresh(); });
  }
  const strip = slmLens.strip(data, context, { paint, note, onPointed: point, hint:
    "Point at a token or at the map; a click selects." });

  const thumbs = element("div", { class: "thumbs", role: "group", "aria-label": "heads" });
  function drawThumbs() {
    const { values, shape } = context.array(data.thumbnails);
    const side = shape[1];
    const colours = slmLens.palette(shade);
    thumbs.replaceChildren();
    for (let head = 0; head < data.n_heads; head++) {
      const at = (state.layer * data.n_heads + head) * side * side;
      const canvas = element("canvas", { width: side, height: side });
      slmLens.fill(canvas, (i) => values[at + i], colours);
      thumbs.append(element("button", { class: "thumb", type: "button", data: { head },
        "aria-label": `head ${head}`, "aria-pressed": `${head === state.head}`,
        onclick() { state.head = head; redraw(); },
      }, canvas, element("span", { text: `${head}` })));
    }
    slmLens.rove(thumbs, "button");
  }
  function redraw() {
    load();
    for (const thumb of thumbs.children) {
      thumb.setAttribute("aria-pressed", `${Number(thumb.dataset.head) === state.head}`);
    }
    root.dataset.layer = data.layers[state.layer];
    root.dataset.head = state.head;
    map.draw(nameOfHead());
    strip.refresh();
  }

  const controls = element("div", { class: "controls" });
  let layers = null;
  if (data.layers.length > 1) {
    layers = choice("layer", data.layers.map(String), 0, (i) => {
      state.layer = i;
      context.select({ layer: data.layers[i] });
      drawThumbs();
      redraw();
    });
    controls.append(layers);
  }
  controls.append(choice("map of", ["positions", "words"], 0, (i) => {
    state.byWord = i === 1;
    redraw();
  }));
  if (modalities.length > 1) {
    const names = PAIRS.map((pair) => (pair ? `${pair[0]} reading ${pair[1]}` : "all"));
    controls.append(choice("show", names, 0, (i) => { state.pair = PAIRS[i]; redraw(); }));
  }
  controls.append(
    choice("tokens by", ["what the position reads", "what reads the position"], 0, (i) => {
      state.reads = i === 0;
      strip.refresh();
    }),
    choice("colours", ["square root", "linear"], 0, (i) => {
      state.linear = i === 1;
      drawThumbs();
      drawBar();
      redraw();
    }),
  );
  controls.append(element("button", { class: "plain-button", type: "button", text: "save picture",
    onclick: () => map.save(`attention-L${data.layers[state.layer]}H${state.head}.png`) }));
  const bar = element("div");
  const drawBar = () => bar.replaceChildren(slmLens.colourBar("attention",
    [0, 0.25, 0.5, 0.75, 1].map((t) => slmLens.sequential(t)),
    state.linear ? ["0", "0.5", "1"] : ["0", "0.25", "1"]));
  root.append(controls, thumbs, bar, element("div", { class: "side-by-side" }, map.root, strip.root));
  context.onSelect((selection) => {
    const layer = data.layers.indexOf(selection.layer);
    if (layer >= 0 && layer !== state.layer) {
      state.layer = layer;
      if (layers) layers.querySelector("select").value = layer;
      drawThumbs();
    }
    state.at = selection.position;
    const word = selection.word === null ? null : data.words[selection.word];
    if (state.at === null && word && word.end > word.start) state.at = word.end - 1;
    redraw();
  });
  slmLens.onTheme(() => { drawThumbs(); drawBar(); redraw(); });
  drawThumbs();
  drawBar();
  redraw();
});
