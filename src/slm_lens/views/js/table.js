"use strict";
slmLens.register("table", (root, data, context) => {
  const { element } = slmLens;
  const columns = data.columns.map((column) => {
    const { values } = context.array(column.values);
    const isString = column.kind === "string";
    const letters = isString ? Math.max(4, ...column.spellings.slice(0, 500).map((s) => s.length)) : 0;
    return {
      ...column, isString, width: isString ? `${Math.min(letters, 32)}ch` : undefined,
      // What is sorted and saved: a string, a number, or null.
      at: (row) => (isString ? (values[row] === 0 ? null : column.spellings[values[row] - 1])
        : Number.isNaN(values[row]) ? null : values[row]),
    };
  });
  const state = { order: [...Array(data.n_rows).keys()], by: null, down: false, first: 0, sought: "" };

  function shown(column, value) {
    if (value === null) return "–";
    if (column.kind === "float") {
      const size = Math.abs(value);
      const text = size !== 0 && (size < 0.001 || size >= 1e6) ? size.toExponential(2) : size.toFixed(3);
      return value < 0 ? `−${text}` : text;
    }
    return `${value}`;
  }

  function csv() {
    const quoted = (text) => (/[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text);
    const line = (cells) => cells.map((cell) => (cell === null ? "" : quoted(`${cell}`))).join(",");
    return [line(columns.map(({ name }) => name)),
      ...state.order.map((row) => line(columns.map((column) => column.at(row))))].join("\n") + "\n";
  }

  function arrange() {
    let rows = [...Array(data.n_rows).keys()];
    const sought = state.sought.toLowerCase();
    if (sought) {
      const strings = columns.filter(({ isString }) => isString);
      rows = rows.filter((row) => strings.some((column) => {
        const value = column.at(row);
        return value !== null && value.toLowerCase().includes(sought);
      }));
    }
    if (state.by !== null) {
      const column = columns[state.by];
      const sign = state.down ? -1 : 1;
      rows.sort((a, b) => {
        const [x, y] = [column.at(a), column.at(b)];
        if (x === null || y === null) return (x === null) - (y === null) || a - b;  // unknown last
        return (x < y ? -sign : x > y ? sign : 0) || a - b;
      });
    }
    [state.order, state.first] = [rows, 0];
    draw();
  }

  const body = element("tbody", {});
  const heads = columns.map((column, i) => element("th", { scope: "col", class: column.kind,
    "aria-sort": "none" }, element("button", { type: "button", text: column.name, onclick() {
    if (state.by === i && state.down) [state.by, state.down] = [null, false];
    else [state.down, state.by] = [state.by === i, i];
    arrange();
  } })));
  const count = element("span", { class: "count", role: "status" });
  const earlier = element("button", { type: "button", class: "plain-button", text: "‹ earlier rows",
    onclick: () => turn(-1) });
  const later = element("button", { type: "button", class: "plain-button", text: "later rows ›",
    onclick: () => turn(1) });

  function turn(by) {
    state.first += by * data.page_rows;
    draw();
  }

  function draw() {
    const end = Math.min(state.first + data.page_rows, state.order.length);
    body.replaceChildren(...state.order.slice(state.first, end).map((row) => element("tr", {
      data: { row } }, ...columns.map((column) => element("td", {
      class: column.kind, style: column.width ? { "min-width": column.width } : undefined,
      text: shown(column, column.at(row)),
      title: column.kind === "float" && column.at(row) !== null ? `${column.at(row)}` : undefined })))));
    heads.forEach((head, i) => head.setAttribute("aria-sort",
      state.by !== i ? "none" : state.down ? "descending" : "ascending"));
    count.textContent = state.order.length === 0 ? "no rows"
      : `rows ${state.first + 1} to ${end} of ${state.order.length}`;
    earlier.disabled = state.first === 0;
    later.disabled = end >= state.order.length;
    const needed = data.n_rows > data.page_rows;
    earlier.hidden = later.hidden = !needed;
  }

  const search = element("input", { type: "search", "aria-label": "rows with", size: 16,
    oninput(event) {
      state.sought = event.target.value;
      arrange();
    } });
  root.dataset.rows = data.n_rows;
  root.append(
    element("div", { class: "table-controls" },
      data.n_rows > data.page_rows && columns.some(({ isString }) => isString)
        ? element("label", { class: "choice" }, element("span", { text: "rows with" }), search) : null,
      element("button", { type: "button", class: "plain-button save", text: "save as CSV",
        onclick: () => slmLens.download(data.file_name, csv()) })),
    element("div", { class: "scroll" }, element("table", { class: "rows" },
      element("thead", {}, element("tr", {}, ...heads)), body)),
    element("p", { class: "paging" }, earlier, count, later));
  draw();
});
