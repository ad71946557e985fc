// The strip coloured by how well the next token was expected, and the top tokens of one position.
"use strict";
slmLens.register("top_tokens", (root, data, context) => {
  const { element, choice, number } = slmLens;
  const LOWEST = Math.log(1e-4);  // what is less likely has the colour of the paper
  const state = { at: 0, subset: 0 };
  const nextLogProb = (p) => (data.next[p].log_prob === null ? -Infinity : data.next[p].log_prob);
  const paint = (p) => (data.next[p]
    ? slmLens.sequential(1 - Math.max(LOWEST, nextLogProb(p)) / LOWEST) : null);
  const called = (token) => slmLens.short(data.names[token]
    || data.positions.find((position) => position.token === token));
  const kindOf = (token) => (data.names[token]
    || data.positions.find((position) => position.token === token)).kind;
  function note(p) {
    const next = data.next[p];
    return next ? `next ${called(next.token)}: log-prob ${number(nextLogProb(p))}, rank ${next.rank}`
      : "last position";
  }

  const list = element("ol", { class: "top-list" });
  const heading = element("p", { class: "top-heading" });
  function drawList() {
    const { values: ids, shape } = context.array(data.ids[state.subset]);
    const { values: logProbs } = context.array(data.log_probs[state.subset]);
    const k = shape[1];
    const next = data.next[state.at];
    heading.textContent = `After ${slmLens.told(data, state.at)}`;
    list.replaceChildren();
    for (let i = 0; i < k; i++) {
      const token = ids[state.at * k + i];
      const logProb = logProbs[state.at * k + i];
      const isNext = next !== null && next.token === token;
      const pinned = context.pins().includes(token);
      list.append(element("li", { data: { token, next: isNext ? "true" : undefined } },
        element("button", { type: "button", class: `top-token ${kindOf(token)}`,
          text: called(token), "aria-pressed": `${pinned}`,
          "aria-label": `pin ${kindOf(token)} ${called(token)}`,
          onclick() { context.pin(token); } }),
        element("span", { class: "bar", style: { width: `${(100 * Math.exp(logProb)).toFixed(2)}%` } }),
        element("span", { class: "log-prob", text: number(logProb), data: { value: logProb } }),
        element("span", { class: "is-next", text: isNext ? "← next" : "" })));
    }
    slmLens.rove(list, "button");
  }

  const strip = slmLens.strip(data, context, { paint, note, onChosen(p) {
    state.at = p;
    drawList();
  } });
  const bar = element("div");
  const drawBar = () => bar.replaceChildren(slmLens.colourBar("probability of what comes next",
    [0, 0.25, 0.5, 0.75, 1].map((t) => slmLens.sequential(t)), ["0.0001", "0.01", "1"]));
  root.append(bar, element("div", { class: "side-by-side" }, strip.root, element("div", {},
    choice("among", data.subsets, 0, (i) => { state.subset = i; drawList(); }), heading, list)));
  context.onSelect((selection) => {
    const word = selection.word === null ? null : data.words[selection.word];
    if (selection.position !== null) state.at = selection.position;
    else if (word && word.end > word.start) state.at = word.end - 1;
    drawList();
  });
  context.onPins(drawList);
  slmLens.onTheme(drawBar);
  strip.cells.forEach((cell, p) => {
    if (data.next[p]) cell.dataset.nextLogProb = data.next[p].log_prob;
  });
  drawBar();
  drawList();
});
