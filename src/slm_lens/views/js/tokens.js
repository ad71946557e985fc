// Positions of a sequence, as `described_positions` sends them, as a strip of buttons.
//
//   slmLens.strip(data, context, {paint, note, hint, onChosen, onPointed})
//       -> {root, refresh, status, cells}
//     paint(position) -> [r, g, b] or null, the colour of a cell; note(position) -> text for it
//     onChosen(position)   after a click or Enter on a cell
//     onPointed(position)  while a cell is pointed at or has the focus; null when none is
//   slmLens.told(data, position)        a position in words, for a line of status
//   slmLens.short(position)             its shortest name: the unit's number, the text, the marker
//   slmLens.inText(data, context)       the key of kinds of positions
"use strict";
Object.assign(slmLens, (() => {
  const { element, written, number } = slmLens;

  function short(position) {
    if (position.unit !== undefined) {
      return position.stream === "units" ? `${position.unit}` : `${position.stream} ${position.unit}`;
    }
    if (position.kind === "marker") return position.label.replace(/^<|>$/g, "");
    return written(position.label);
  }

  const seconds = (x) => `${x.toFixed(2)} s`;
  const span = (x) => `${x.start_s.toFixed(2)}–${seconds(x.end_s)}`;

  function told(data, at) {
    const position = data.positions[at];
    const word = position.word === undefined ? null : data.words[position.word];
    const parts = [`position ${at}`];
    if (position.unit !== undefined) {
      parts.push(`${position.stream === "units" ? "unit" : position.stream} ${position.unit}`);
    } else parts.push(`${position.kind} “${written(position.label)}”`);
    if (word) parts.push(`in “${word.word}”`);
    if (position.phone) parts.push(`phoneme ${position.phone}`);
    if (position.start_s !== undefined) parts.push(span(position));
    else if (word && word.start_s !== null) parts.push(`word at ${span(word)}`);
    return parts.join(" · ");
  }

  function header(data, group, context) {
    if (group.word === null) {
      const text = group.kind === "speech" ? "(no word)" : group.kind === "text" ? "" : group.kind;
      return element("span", { class: "heading outside", text });
    }
    const word = data.words[group.word];
    const time = word.start_s === null ? null
      : element("span", { class: "seconds", text: seconds(word.start_s) });
    return element("button", {
      class: "heading", type: "button", data: { word: group.word },
      "aria-label": `word ${word.word}${word.start_s === null ? "" : `, ${span(word)}`}`,
      onclick() {
        context.select({ word: group.word });
        if (word.start_s !== null) context.play(word.start_s, word.end_s);
      },
    }, element("span", { class: "written", text: word.word }), time);
  }

  function strip(data, context, options = {}) {
    const { paint = () => null, note = () => "", onChosen = () => {}, onPointed = () => {} } = options;
    const status = element("p", { class: "status", role: "status", text: options.hint ||
      "Point at a token, or move with the arrow keys; Enter or a click selects its word." });
    const list = element("div", { class: "token-strip", role: "group",
      "aria-label": "tokens by word" });
    const cells = [];

    function cell(at) {
      const position = data.positions[at];
      const show = () => {
        status.textContent = [told(data, at), note(at)].filter(Boolean).join(" · ");
        onPointed(at);
      };
      const made = element("button", {
        class: `token ${position.kind}`, type: "button",
        data: { position: at, token: position.token, unit: position.unit, word: position.word,
          phone: position.phone },
        onmouseenter: show, onfocus: show,
        onclick() {
          const word = position.word === undefined ? null : data.words[position.word];
          const times = position.start_s !== undefined ? position : word;
          context.select({ word: position.word === undefined ? null : position.word, position: at });
          if (word && word.start_s !== null) context.play(word.start_s, word.end_s);
          else if (times && times.start_s !== undefined && times.start_s !== null) {
            context.play(times.start_s, times.end_s);
          }
          onChosen(at);
        },
      }, element("span", { class: "name", text: short(position) }),
      position.phone ? element("span", { class: "phone", text: position.phone }) : null);
      made.setAttribute("aria-label", told(data, at));
      cells[at] = made;
      return made;
    }

    for (const group of data.groups) {
      const body = element("span", { class: "cells" });
      for (let p = group.start; p < group.end; p++) body.append(cell(p));
      if (group.start === group.end) body.append(element("span", { class: "none", text: "no token" }));
      list.append(element("span", { class: `token-group ${group.kind}`,
        data: { word: group.word, start: group.start, end: group.end } },
        header(data, group, context), body));
    }
    slmLens.rove(list, "button");
    list.addEventListener("mouseleave", () => onPointed(null));
    list.addEventListener("focusout", () => onPointed(null));

    // A long strip scrolls by itself, to what another view selected; the page stays where it is.
    function scrollTo(cell) {
      const [inner, outer] = [cell.getBoundingClientRect(), list.getBoundingClientRect()];
      if (inner.top < outer.top) list.scrollTop += inner.top - outer.top - 30;
      else if (inner.bottom > outer.bottom) list.scrollTop += inner.bottom - outer.bottom + 30;
    }

    function refresh() {
      cells.forEach((made, at) => {
        const colour = paint(at);
        made.style.background = colour ? slmLens.css(colour) : "";
        made.style.color = colour ? slmLens.inkOn(colour) : "";
        made.classList.toggle("painted", Boolean(colour));
      });
    }
    context.onSelect((selection) => {
      const word = selection.word === null ? null : data.words[selection.word];
      const shown = cells[selection.position === null ? (word && word.start) : selection.position];
      if (shown && list.scrollHeight > list.clientHeight) scrollTo(shown);
      for (const group of list.children) {
        const isIt = selection.word !== null && group.dataset.word === `${selection.word}`;
        group.classList.toggle("selected", isIt);
      }
      cells.forEach((made, at) => {
        const isIt = selection.position === at;
        made.classList.toggle("selected", isIt);
        made.setAttribute("aria-pressed", isIt ? "true" : "false");
      });
    });
    context.onPlayable(() => list.classList.add("playable"));
    context.onTime((time) => {
      data.words.forEach((word, i) => {
        const sounds = time !== null && word.start_s !== null && word.start_s <= time && time < word.end_s;
        const group = list.querySelector(`.token-group[data-word="${i}"]`);
        group.classList.toggle("sounding", sounds);
      });
    });
    slmLens.onTheme(refresh);
    refresh();
    return { root: element("div", { class: "strip" }, status, list), refresh, status, cells };
  }

  function inText(data) {
    const names = { speech: "speech token", text: "text token", marker: "marker", special: "special",
      padding: "padding" };
    const kinds = [...new Set(data.positions.map((position) => position.kind))];
    return element("ul", { class: "key" }, ...kinds.map((kind) => element("li", {},
      element("span", { class: `sample sample-${kind}` }), names[kind])));
  }

  return { strip, told, short, inText };
})());
