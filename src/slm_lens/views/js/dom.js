// Elements, keyboard and files. Text is only ever set as text.
//
//   slmLens.element(tag, {class, text, data: {name: value}, ...attributes}, ...children)
//   slmLens.choice(label, names, chosen, onChange)   a labelled select element
//   slmLens.rove(container, selector)   one tab stop; arrow keys, Home and End move among the items;
//                                       call it again when the container has been filled again
//   slmLens.download(name, content, type)   content is text or a Blob
//   slmLens.written(label)              a token's text with its spaces and line ends made visible
//   slmLens.number(x, digits)           with a real minus sign; "–" for null
"use strict";
Object.assign(slmLens, (() => {
  function element(tag, options = {}, ...children) {
    const made = document.createElement(tag);
    for (const [key, value] of Object.entries(options)) {
      if (value === undefined || value === null) continue;
      if (key === "class") made.className = value;
      else if (key === "text") made.textContent = value;
      else if (key === "data") for (const [name, x] of Object.entries(value)) {
        if (x !== undefined && x !== null) made.dataset[name] = x;
      }
      else if (key === "style") for (const [name, x] of Object.entries(value)) {
        made.style.setProperty(name, x);
      }
      else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else made.setAttribute(key, value === true ? "" : value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  }

  function choice(label, names, chosen, onChange) {
    const select = element("select", { "aria-label": label });
    names.forEach((name, i) => select.append(element("option", { value: i, text: name })));
    select.value = chosen;
    select.addEventListener("change", () => onChange(Number(select.value)));
    return element("label", { class: "choice" }, element("span", { text: label }), select);
  }

  // Up and down go to the nearest item of another line, by where items are on the screen.
  function across(items, current, down) {
    const box = current.getBoundingClientRect();
    let best = null;
    let least = Infinity;
    for (const item of items) {
      const other = item.getBoundingClientRect();
      const lines = down ? other.top - box.bottom : box.top - other.bottom;
      if (lines < -2 || item === current) continue;
      const distance = 4 * lines + Math.abs(other.left + other.width / 2 - box.left - box.width / 2);
      if (distance < least) [best, least] = [item, distance];
    }
    return best;
  }

  const roving = new WeakSet();
  function rove(container, selector) {
    const items = () => [...container.querySelectorAll(selector)];
    const focusOn = (item) => {
      for (const other of items()) other.tabIndex = other === item ? 0 : -1;
      item.focus();
    };
    items().forEach((item, i) => (item.tabIndex = i === 0 ? 0 : -1));
    if (roving.has(container)) return;  // filled again: the listeners are there
    roving.add(container);
    container.addEventListener("focusin", (event) => {
      const item = event.target.closest(selector);
      if (item) for (const other of items()) other.tabIndex = other === item ? 0 : -1;
    });
    container.addEventListener("keydown", (event) => {
      const all = items();
      const at = all.indexOf(event.target.closest(selector));
      if (at < 0) return;
      const next = {
        ArrowRight: () => all[at + 1], ArrowLeft: () => all[at - 1],
        ArrowDown: () => across(all, all[at], true), ArrowUp: () => across(all, all[at], false),
        Home: () => all[0], End: () => all[all.length - 1],
      }[event.key];
      if (!next) return;
      event.preventDefault();
      const item = next();
      if (item) focusOn(item);
    });
  }

  function download(name, content, type = "text/csv") {
    const url = URL.createObjectURL(new Blob([content], { type }));
    element("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }

  function written(label) {
    return label.replace(/ /g, "·").replace(/\n/g, "¶").replace(/\r/g, "␍").replace(/\t/g, "→");
  }

  function number(x, digits = 2) {
    if (x === null || x === undefined || Number.isNaN(x)) return "–";
    const text = Number.isFinite(x) ? Math.abs(x).toFixed(digits) : "∞";
    return x < 0 && Number(text) !== 0 ? `−${text}` : text;
  }

  return { element, choice, rove, download, written, number };
})());
