// A table of coloured cells, one of which is in reach of the tab key; arrows move among them.
//
//   slmLens.cellGrid({label, corner, columns, groups, rows, cell, onChosen, onShown})
//     columns   [{text, title, class, data}]; groups  [{text, span, class, onclick, data}] above them
//     rows      [{text, title}], from top to bottom
//     cell(row, column) -> {text, colour, title, class, data}, row and column counted from 0
//     onChosen(row, column)   after a click, Enter or space;  onShown(row, column)  under the pointer
//   -> {root, mark(row, columns), refresh()}    mark selects a row (or null) and a set of columns
"use strict";
Object.assign(slmLens, (() => {
  const { element } = slmLens;

  function cellGrid(options) {
    const { columns, groups = null, rows, cell, onChosen, onShown = () => {} } = options;
    const cells = rows.map(() => []);
    const heads = [];

    function paint(made, row, column) {
      const shown = cell(row, column);
      made.className = `cell ${shown.class || ""}`;
      made.textContent = shown.text;
      made.title = shown.title || "";
      made.setAttribute("aria-label", shown.title || shown.text);
      made.style.background = shown.colour ? slmLens.css(shown.colour) : "";
      made.style.color = shown.colour ? slmLens.inkOn(shown.colour) : "";
      for (const [name, value] of Object.entries(shown.data || {})) made.dataset[name] = value;
    }

    function make(row, column) {
      const made = element("td", {
        role: "gridcell", tabindex: -1, data: { row, column },
        onclick: () => onChosen(row, column),
        onmouseenter: () => onShown(row, column),
        onfocus: () => onShown(row, column),
      });
      cells[row][column] = made;
      paint(made, row, column);
      return made;
    }

    const head = element("thead", {});
    if (groups) {
      head.append(element("tr", {}, element("td", { class: "corner" }), ...groups.map((group) =>
        element("th", { colspan: group.span, scope: "colgroup", class: group.class, data: group.data },
          group.onclick
            ? element("button", { type: "button", text: group.text, onclick: group.onclick })
            : group.text))));
    }
    head.append(element("tr", {}, element("th", { class: "corner", text: options.corner || "" }),
      ...columns.map((column) => {
        const made = element("th", { scope: "col", class: column.class, data: column.data,
          title: column.title });
        made.append(column.onclick
          ? element("button", { type: "button", "aria-label": column.title, onclick: column.onclick },
            ...column.parts)
          : column.text);
        heads.push(made);
        return made;
      })));
    const body = element("tbody", {}, ...rows.map((row, r) => element("tr", { data: row.data || {} },
      element("th", { scope: "row", text: row.text, title: row.title || "" }),
      ...columns.map((_, c) => make(r, c)))));
    const table = element("table", { class: "cell-grid", role: "grid", "aria-label": options.label },
      head, body);

    function focusOn(row, column) {
      const wanted = cells[row] && cells[row][column];
      if (!wanted) return;
      for (const other of table.querySelectorAll('td[tabindex="0"]')) other.tabIndex = -1;
      wanted.tabIndex = 0;
      wanted.focus();
    }
    if (cells.length && cells[0].length) cells[0][0].tabIndex = 0;
    body.addEventListener("keydown", (event) => {
      const at = event.target.closest("td");
      if (!at) return;
      const [row, column] = [Number(at.dataset.row), Number(at.dataset.column)];
      const go = {
        ArrowRight: [row, column + 1], ArrowLeft: [row, column - 1], ArrowDown: [row + 1, column],
        ArrowUp: [row - 1, column], Home: [row, 0], End: [row, columns.length - 1],
      }[event.key];
      if (go) focusOn(...go);
      else if (event.key === "Enter" || event.key === " ") onChosen(row, column);
      else return;
      event.preventDefault();
    });

    function mark(row, marked) {
      heads.forEach((made, c) => made.classList.toggle("selected", marked.has(c)));
      cells.forEach((line, r) => line.forEach((made, c) => {
        made.classList.toggle("column", marked.has(c));
        const isIt = r === row && marked.has(c);
        made.classList.toggle("selected", isIt);
        made.setAttribute("aria-selected", isIt ? "true" : "false");
      }));
    }

    // Within the frame of the table alone: the page stays where the reader has it.
    function reveal(column) {
      const head = heads[column];
      if (!head) return;
      const [left, width] = [head.offsetLeft, head.offsetWidth];
      const stuck = table.querySelector("tbody th").offsetWidth;
      if (left < root.scrollLeft + stuck) root.scrollLeft = left - stuck;
      else if (left + width > root.scrollLeft + root.clientWidth) {
        root.scrollLeft = left + width - root.clientWidth;
      }
    }

    const root = element("div", { class: "scroll cell-grid-frame" }, table);
    const refresh = () => cells.forEach((line, r) => line.forEach((made, c) => {
      const selected = made.classList.contains("selected");
      const column = made.classList.contains("column");
      paint(made, r, c);
      made.classList.toggle("selected", selected);
      made.classList.toggle("column", column);
    }));
    slmLens.onTheme(refresh);
    return { root, mark, refresh, reveal };
  }

  return { cellGrid };
})());
