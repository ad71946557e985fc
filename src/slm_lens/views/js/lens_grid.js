"use strict";
slmLens.register("lens_grid", (root, data, context) => {
  const { element, number, choice, cellGrid } = slmLens;
  const model = slmLens.lensGrid(data, context.array);
  const SITES = { max: "words, highest over their positions", last: "words, at their last position",
    position: "every position" };
  const SUBSETS = { text: "text", full: "everything" };
  const COLOURS = ["probability of the top token", "probability of text, all tokens",
    "rank of the word itself", "rank of the next word", "rank of the last pin"];
  const WINDOW = 40;  // columns that are drawn at once
  const HUES = ["#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#888888"];
  const DASHES = ["none", "6 3", "2 3", "8 3 2 3", "4 2"];
  const sites = Object.keys(data.sites);
  const state = { site: sites[0], subset: data.subsets[0], colour: 0, first: 0,
    layer: data.n_layers, row: null };
  let grid = null;

  const here = () => model.site(state.site);
  const columnsShown = () => Math.min(WINDOW, here().n - state.first);
  const layerOf = (row) => data.n_layers - row;
  const percent = (p) => (p >= 0.0995 ? `${Math.round(100 * p)} %`
    : p >= 0.001 ? `${(100 * p).toPrecision(2)} %` : "< 0.1 %");

  const scale = element("li", { class: "shades" });
  function drawScale() {
    const [from, to] = state.colour < 2 ? ["0 %", "100 %"]
      : [`rank ${data.sizes[state.subset]}`, "rank 1"];
    const swatches = [0, 0.25, 0.5, 0.75, 1].map((t) => element("span", { class: "sample",
      style: { background: slmLens.css(slmLens.sequential(0.9 * t)) } }));
    scale.replaceChildren(element("span", { text: `${from} ` }), ...swatches,
      element("span", { text: ` ${to}` }));
  }
  slmLens.onTheme(drawScale);

  function goodness(rank) {
    return rank === null ? null : 1 - Math.log(rank) / Math.log(data.sizes[state.subset]);
  }

  function target(row) {
    const word = here().words[row];
    if (state.colour === 2) return model.current(word);
    if (state.colour === 3) return model.next(word);
    const pins = context.pins();
    return pins.length ? model.followedBy(pins[pins.length - 1]) : null;
  }

  function shade(layer, row) {
    if (state.colour === 0) return Math.exp(here().top(state.subset, layer, row)[0].log_prob);
    if (state.colour === 1) return here().mass(layer, row).text;
    return goodness(here().rank(state.subset, layer, row, target(row)));
  }

  function cell(r, c) {
    const [layer, row] = [layerOf(r), state.first + c];
    const [top] = here().top(state.subset, layer, row);
    const word = here().words[row];
    const t = shade(layer, row);
    const kind = data.tokens[top.token].kind;
    const is = model.holds(model.current(word), top.token) ? "current"
      : model.holds(model.next(word), top.token) ? "next" : "";
    const rank = state.colour >= 2 ? here().rank(state.subset, layer, row, target(row)) : null;
    const title = `${called(row)}, layer ${layer}: ${model.name(top.token)} `
      + `(${percent(Math.exp(top.log_prob))} of ${SUBSETS[state.subset]})`
      + (is === "current" ? ", the word itself" : is === "next" ? ", the next word" : "")
      + (rank === null ? "" : `; rank ${rank}`);
    return {
      text: model.name(top.token), title, class: `${kind} ${is}`,
      colour: t === null ? null : slmLens.sequential(0.9 * t),
      data: { layer, at: row, token: top.token, logProb: top.log_prob.toFixed(2) },
    };
  }

  function called(row) {
    const word = here().words[row];
    if (state.site !== "position") return `“${data.words[word].word}”`;
    const [start] = here().spans[row];
    return `position ${start}` + (word === null ? "" : ` in “${data.words[word].word}”`);
  }

  function headOfWord(row) {
    const word = data.words[here().words[row]];
    const time = word.start_s === null ? "" : `${word.start_s.toFixed(2)} s`;
    return {
      class: word.modality, data: { word: here().words[row] }, title: `word ${word.word} ${time}`,
      parts: [element("span", { class: "written", text: word.word }),
        element("span", { class: "seconds", text: time })],
      onclick: () => chooseWord(here().words[row]),
    };
  }

  function chooseWord(word) {
    context.select({ word });
    const { start_s, end_s } = data.words[word];
    if (start_s !== null) context.play(start_s, end_s);
  }

  function headOfPosition(row) {
    const token = context.array(data.read).values[here().spans[row][0]];
    return { text: model.name(token), class: data.tokens[token].kind, title: called(row),
      data: { position: here().spans[row][0] } };
  }

  function groups() {
    const found = [];
    for (let c = 0; c < columnsShown(); c++) {
      const word = here().words[state.first + c];
      const last = found[found.length - 1];
      if (last && last.word === word) last.span += 1;
      else found.push({ word, span: 1 });
    }
    return found.map(({ word, span }) => (word === null ? { text: "", span } : {
      text: data.words[word].word, span, class: data.words[word].modality, data: { word },
      onclick: () => chooseWord(word),
    }));
  }

  const frame = element("div", {});
  const paging = element("p", { class: "paging" });
  const details = element("div", { class: "cell-details" });
  const legend = element("ul", { class: "rank-key" });
  const lines = slmLens.rankLines("ranks by layer");
  const lineTitle = element("h3", {});

  function drawGrid() {
    const isWords = state.site !== "position";
    const shown = [...Array(columnsShown()).keys()].map((c) => state.first + c);
    grid = cellGrid({
      label: `lens grid of ${data.utterance}: ${SITES[state.site]}`, corner: "layer",
      columns: shown.map(isWords ? headOfWord : headOfPosition), groups: isWords ? null : groups(),
      rows: [...Array(data.n_layers + 1).keys()].map((r) => ({ text: `${layerOf(r)}` })),
      cell,
      onChosen(r, c) {
        const row = state.first + c;
        const word = here().words[row];
        const [top] = here().top(state.subset, layerOf(r), row);
        [state.layer, state.row] = [layerOf(r), row];
        context.select({ word, layer: layerOf(r), token: top.token,
          ...(isWords ? {} : { position: here().spans[row][0] }) });
        drawSelection();
      },
    });
    frame.replaceChildren(grid.root);
    drawPaging();
    drawSelection();
  }

  function turn(first) {
    state.first = Math.max(0, Math.min(first, here().n - 1));
    drawGrid();
  }

  function drawPaging() {
    paging.replaceChildren();
    if (here().n <= WINDOW) return;
    const button = (text, first, off) => element("button", { type: "button", class: "plain-button",
      text, disabled: off || null, onclick: () => turn(first) });
    paging.append(button("‹ earlier", state.first - WINDOW, state.first === 0), element("span", {
      text: ` ${state.first + 1} to ${state.first + columnsShown()} of ${here().n} ` }),
      button("later ›", state.first + WINDOW, state.first + WINDOW >= here().n));
  }

  // The row of the selection: the cell that was clicked, or the first one of the word.
  function selectedRow() {
    const { word, position } = context.selection();
    if (state.site === "position" && position !== null) return position;
    if (word === null) return state.row;
    const own = here().words.indexOf(word);
    return state.row !== null && here().words[state.row] === word ? state.row : own < 0 ? null : own;
  }

  function drawSelection() {
    const row = selectedRow();
    const { word } = context.selection();
    const isMarked = (r) => r === row
      || (state.site === "position" && word !== null && here().words[r] === word);
    const marked = new Set();
    for (let c = 0; c < columnsShown(); c++) if (isMarked(state.first + c)) marked.add(c);
    const one = row === null ? marked : new Set([row - state.first]);
    grid.mark(data.n_layers - state.layer, state.site === "position" ? marked : one);
    drawDetails(row);
    drawLines(row);
  }

  function pinButton(token) {
    const isPinned = context.pins().includes(token);
    const followed = model.followedBy(token);
    return element("button", {
      type: "button", class: "pin plain-button", data: { pin: token },
      "aria-pressed": isPinned ? "true" : "false", disabled: followed === null || null,
      title: followed === null ? "not ranked in every cell; follow it when the grid is read" : "",
      text: isPinned ? "pinned" : "pin", "aria-label": `pin ${model.name(token)}`,
      onclick: () => context.pin(token),
    });
  }

  function drawDetails(row) {
    details.replaceChildren();
    if (row === null) {
      details.append(element("p", { class: "status", text:
        "Choose a cell: click it, or move with the arrow keys and press Enter." }));
      return;
    }
    const layer = state.layer;
    const word = here().words[row];
    const { text, speech, other } = here().mass(layer, row);
    const list = here().top(state.subset, layer, row).map(({ token, log_prob }, i) => {
      const p = Math.exp(log_prob);
      return element("tr", { data: { token, logProb: log_prob.toFixed(2) } },
        element("td", { text: `${i + 1}` }),
        element("td", { class: `written ${data.tokens[token].kind}`, text: model.name(token) }),
        element("td", { class: "numeric", text: percent(p) }),
        element("td", { class: "numeric", text: number(log_prob) }),
        element("td", {}, pinButton(token)));
    });
    const rankOf = (followed) => {
      const rank = here().rank(state.subset, layer, row, followed);
      return rank === null ? "–" : `${rank}`;
    };
    const of = `of ${data.sizes[state.subset]}`;
    details.append(
      element("h3", { text: `${called(row)} at layer ${layer}` }),
      element("table", { class: "tops" }, element("thead", {}, element("tr", {},
        ...["", `highest of ${SUBSETS[state.subset]}`, "p", "ln p", ""].map((name) =>
          element("th", { scope: "col", text: name })))), element("tbody", {}, ...list)),
      element("p", { class: "facts", data: { text: text.toFixed(4), speech: speech.toFixed(4) } },
        element("span", { text: `Mass: text ${percent(text)}, speech ${percent(speech)}, other ${percent(other)}.` })),
      word === null ? null : element("p", { class: "facts", data: {
        current: rankOf(model.current(word)), next: rankOf(model.next(word)) } },
        element("span", { text: "Rank of " }),
        element("span", { class: "current-word", text: data.words[word].word }),
        element("span", { text: `: ${rankOf(model.current(word))}` }),
        ...(word + 1 < data.words.length ? [
          element("span", { text: "; of the next word " }),
          element("span", { class: "next-word", text: data.words[word + 1].word }),
          element("span", { text: `: ${rankOf(model.next(word))}` })] : []),
        element("span", { text: ` (${of})` })));
  }

  function series(row) {
    const word = here().words[row];
    const ofLayers = (followed) => [...Array(data.n_layers + 1).keys()].map((layer) =>
      here().rank(state.subset, layer, row, followed));
    const found = [];
    const own = model.current(word);
    const next = model.next(word);
    if (own !== null) found.push({ label: `${data.words[word].word} (the word)`, followed: own,
      colour: "var(--current)", dash: "none", pin: null });
    if (next !== null && next !== undefined) found.push({ label: `${data.words[word + 1].word} (next)`,
      followed: next, colour: "var(--next)", dash: "6 3", pin: null });
    context.pins().forEach((pin, i) => {
      const followed = model.followedBy(pin);
      if (followed === null) return;
      const { is_word, label } = data.followed[followed];
      found.push({ label: is_word ? label : model.name(pin), followed, pin,
        colour: HUES[i % HUES.length], dash: DASHES[i % DASHES.length] });
    });
    return found.map((line) => ({ ...line, ranks: ofLayers(line.followed) }));
  }

  function drawLines(row) {
    for (const part of [lineTitle, lines.root, legend]) part.hidden = row === null;
    if (row === null) return;
    const drawn = series(row);
    lineTitle.textContent = `Ranks by layer at ${called(row)}, within ${SUBSETS[state.subset]}`;
    lines.draw(drawn, { largest: data.sizes[state.subset], n_layers: data.n_layers,
      layer: state.layer });
    legend.replaceChildren(...drawn.map((line) => element("li", {},
      element("span", { class: "stroke", style: { "border-top-color": line.colour,
        "border-top-style": line.dash === "none" ? "solid" : "dashed" } }),
      element("span", { text: line.label }),
      line.pin === null ? null : element("button", { type: "button", class: "plain-button",
        "aria-label": `take off ${line.label}`, text: "×", onclick: () => context.pin(line.pin) }))));
  }

  const options = data.followed.map(({ label, tokens, is_word }) =>
    ({ name: is_word ? label : model.name(tokens[0]), token: tokens[0] }));
  const pinChoice = choice("pin", ["…", ...options.map((option) => option.name)], 0, (i) => {
    if (i > 0) context.pin(options[i - 1].token);
    pinChoice.querySelector("select").value = 0;
  });
  root.append(
    element("div", { class: "choices" },
      choice("read", sites.map((site) => SITES[site]), 0, (i) => {
        [state.site, state.first] = [sites[i], 0];
        state.row = null;
        follow(context.selection());
        drawGrid();
      }),
      choice("tokens of", data.subsets.map((s) => SUBSETS[s]), 0, (i) => {
        state.subset = data.subsets[i];
        drawScale();
        grid.refresh();
        drawSelection();
      }),
      choice("colour", COLOURS, 0, (i) => {
        state.colour = i;
        drawScale();
        grid.refresh();
      })),
    element("ul", { class: "key" },
      element("li", {}, element("span", { class: "sample frame-current" }), "top token is the word itself"),
      element("li", {}, element("span", { class: "sample frame-next" }), "top token is the next word"),
      scale),
    paging, frame,
    element("div", { class: "beside" }, details,
      element("div", { class: "ranks" }, lineTitle, lines.root, legend, pinChoice)));

  // A word that was chosen elsewhere may lie outside the columns that are drawn.
  function follow({ word, position }) {
    const row = state.site === "position" && position !== null ? position
      : word === null ? -1 : here().words.indexOf(word);
    if (row < 0 || (row >= state.first && row < state.first + columnsShown())) return false;
    state.first = Math.floor(row / WINDOW) * WINDOW;
    return true;
  }

  drawScale();
  drawGrid();
  context.onSelect((selection) => {
    if (selection.layer !== null) state.layer = selection.layer;
    if (follow(selection)) drawGrid();
    else drawSelection();
    const row = selectedRow();
    if (row !== null) grid.reveal(row - state.first);
  });
  context.onPins(() => {
    if (state.colour === 4) grid.refresh();
    drawSelection();
  });
});
