// Colours of numbers, for the theme that is shown.
//
//   slmLens.isDark()                    whether the page is dark now
//   slmLens.onTheme(fn)                 fn() when that changes, for what is drawn on a canvas
//   slmLens.variable(name)              value of a CSS variable, such as "--speech"
//   slmLens.sequential(t)               [r, g, b] for t in [0, 1], from the paper's colour upwards
//   slmLens.diverging(t)                [r, g, b] for t in [-1, 1], the paper's colour at 0
//   slmLens.inkOn([r, g, b])            black or white, whichever reads better on it
//   slmLens.css([r, g, b])
//   slmLens.colourBar(name, colours, labels)   a bar with labels below it, from left to right
"use strict";
Object.assign(slmLens, (() => {
  // Blues and BrBG of ColorBrewer; for dark pages their lightness is turned round.
  const LIGHT = {
    sequential: ["#ffffff", "#deebf7", "#9ecae1", "#4292c6", "#2171b5", "#08306b"],
    diverging: ["#8c510a", "#d8b365", "#f6e8c3", "#ffffff", "#c7eae5", "#5ab4ac", "#01665e"],
  };
  const DARK = {
    sequential: ["#16191d", "#17304d", "#1f5a94", "#4292c6", "#9ecae1", "#f2f9ff"],
    diverging: ["#f5c878", "#b07d35", "#54401f", "#16191d", "#164a45", "#2f9a8e", "#8fe8dc"],
  };
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const listeners = new Set();

  function isDark() {
    const forced = document.documentElement.dataset.theme;
    return forced ? forced === "dark" : system.matches;
  }

  function onTheme(fn) {
    listeners.add(fn);
  }

  const changed = () => listeners.forEach((fn) => fn());
  system.addEventListener("change", changed);
  new MutationObserver(changed).observe(document.documentElement, { attributeFilter: ["data-theme"] });

  function variable(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  const stops = (name) => (isDark() ? DARK : LIGHT)[name].map(rgb);

  function between(colours, t) {
    const place = Math.min(1, Math.max(0, t)) * (colours.length - 1);
    const low = Math.min(colours.length - 2, Math.floor(place));
    return colours[low].map((x, i) => Math.round(x + (place - low) * (colours[low + 1][i] - x)));
  }

  const sequential = (t) => between(stops("sequential"), t);
  const diverging = (t) => between(stops("diverging"), (t + 1) / 2);

  function luminance(colour) {
    const [r, g, b] = colour.map((x) => {
      const s = x / 255;
      return s <= 0.03928 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }

  const inkOn = (colour) => (luminance(colour) > 0.179 ? "#000000" : "#ffffff");
  const css = (colour) => `rgb(${colour.join(" ")})`;

  function colourBar(name, colours, labels) {
    const { element } = slmLens;
    return element("div", { class: "colour-bar" }, element("span", { class: "name", text: name }),
      element("div", {},
        element("div", { class: "colours", style: {
          "background-image": `linear-gradient(to right, ${colours.map(css).join(", ")})` } }),
        element("div", { class: "labels" }, ...labels.map((text) => element("span", { text })))));
  }

  return { isDark, onTheme, variable, sequential, diverging, inkOn, css, colourBar };
})());
