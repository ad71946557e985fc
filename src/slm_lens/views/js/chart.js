// A chart that Plotly draws, in the colours of the page. Traces and layout come finished; here only
// colours are replaced by those of a dark page, and charts wider than the page scroll. A chart is drawn
// when it comes near the window, or the page is printed.
"use strict";
(() => {
  const ON_DARK = {
    "#000000": "--ink", "black": "--ink", "white": "--paper", "#666666": "--muted",
    "#F2F2F2": "--panel", "#DDDDDD": "--line", "#0072B2": "--current", "#D55E00": "--next",
    "#009E73": "--text", "#CC79A7": "--speech",
  };

  function isDark(styles) {
    return styles.colorScheme.includes("dark");
  }

  function recolour(node, styles) {
    for (const [key, value] of Object.entries(node)) {
      if (value && typeof value === "object") recolour(value, styles);
      else if (/color$/.test(key) && value in ON_DARK)
        node[key] = styles.getPropertyValue(ON_DARK[value]).trim();
    }
  }

  slmLens.register("chart", (root, data) => {
    const styles = getComputedStyle(document.documentElement);
    if (isDark(styles)) {
      recolour(data.layout, styles);
      recolour(data.data, styles);
    }
    const box = document.createElement("div");
    const plot = document.createElement("div");
    box.className = "scroll";
    plot.className = "chart";
    box.append(plot);
    root.append(box);
    plot.dataset.traces = String(data.data.length);
    plot.style.height = `${data.layout.height}px`;
    const draw = () => {
      near.disconnect();
      removeEventListener("beforeprint", draw);
      if (plot.childElementCount) return;
      Plotly.newPlot(plot, data.data, data.layout, {
        displaylogo: false,
        modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"],
        toImageButtonOptions: { format: "svg", filename: "chart" },
      });
    };
    // Drawing takes a tenth of a second each: those far below wait until they come near.
    const near = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) draw();
    }, { rootMargin: "400px" });
    near.observe(plot);
    addEventListener("beforeprint", draw);
  });
})();
