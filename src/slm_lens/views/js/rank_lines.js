// Ranks through the layers as lines, on a logarithmic scale with rank 1 at the top.
//
//   slmLens.rankLines(label) -> {root, draw(lines, {largest, layer})}
//     lines  [{label, ranks (null where there is none), colour (of CSS), dash, followed}]
"use strict";
slmLens.rankLines = (label) => {
  const { element } = slmLens;
  const SVG = "http://www.w3.org/2000/svg";
  const HEIGHT = 260, LEFT = 46, RIGHT = 12, TOP = 12, BOTTOM = 38;
  let WIDTH = 560;  // that of the place on the page, so that letters keep their size
  let last = null;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("role", "img");
  svg.setAttribute("class", "rank-lines");
  const table = element("table", { class: "unseen" });
  const root = element("div", { class: "rank-lines-box" }, svg, table);

  function shape(tag, attributes, text) {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function draw(lines, { largest, n_layers, layer }) {
    last = [lines, { largest, n_layers, layer }];
    WIDTH = Math.max(280, root.clientWidth || WIDTH);
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.replaceChildren();
    const most = Math.log10(Math.max(10, largest));
    const x = (l) => LEFT + (WIDTH - LEFT - RIGHT) * (n_layers ? l / n_layers : 0.5);
    const y = (rank) => TOP + (HEIGHT - TOP - BOTTOM) * Math.log10(rank) / most;
    for (let power = 0; power <= most + 1e-9; power++) {
      const at = y(10 ** power);
      svg.append(shape("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: at, y2: at, class: "rule" }));
      svg.append(shape("text", { x: LEFT - 6, y: at + 4, class: "tick end" },
        power < 4 ? `${10 ** power}` : `${10 ** (power - 3)}k`));
    }
    const step = [1, 2, 4, 5, 10, 20, 40].find((s) => n_layers / s <= WIDTH / 40) || 50;
    for (let l = 0; l <= n_layers; l += step) {
      svg.append(shape("text", { x: x(l), y: HEIGHT - BOTTOM + 16, class: "tick middle" }, `${l}`));
    }
    svg.append(shape("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 5, class: "tick middle" },
      "layer (0 = embedding)"));
    svg.append(shape("text", { x: -(TOP + HEIGHT - BOTTOM) / 2, y: 12, class: "tick middle",
      transform: "rotate(-90)" }, "rank"));
    if (layer !== null && layer !== undefined) {
      svg.append(shape("line", { x1: x(layer), x2: x(layer), y1: TOP, y2: HEIGHT - BOTTOM,
        class: "here" }));
    }
    for (const line of lines) {
      const group = shape("g", { class: "line", stroke: line.colour, fill: line.colour });
      group.dataset.label = line.label;
      group.dataset.ranks = line.ranks.map((r) => r ?? "").join(",");
      let path = "";
      line.ranks.forEach((rank, l) => {
        if (rank === null) return;
        path += `${path && line.ranks[l - 1] !== null ? "L" : "M"}${x(l)} ${y(rank)}`;
        const point = shape("circle", { cx: x(l), cy: y(rank), r: l === layer ? 5 : 3 });
        point.append(shape("title", {}, `${line.label}: rank ${rank} at layer ${l}`));
        group.append(point);
      });
      if (path) {
        group.prepend(shape("path", { d: path, fill: "none", "stroke-dasharray": line.dash || "none" }));
      }
      svg.append(group);
    }
    svg.setAttribute("aria-label", `${label}: ${lines.map((line) => line.label).join(", ")}`);
    table.replaceChildren(element("caption", { text: label }), ...lines.map((line) =>
      element("tr", {}, element("th", { text: line.label }),
        ...line.ranks.map((rank) => element("td", { text: rank === null ? "–" : `${rank}` })))));
  }

  new ResizeObserver(() => {
    if (last && Math.abs(root.clientWidth - WIDTH) > 1) draw(...last);
  }).observe(root);
  return { root, draw };
};
