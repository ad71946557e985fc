// A square map on a canvas, with words at its sides: rows read, columns are read.
//
//   slmLens.palette(shade)              256 colours for bytes that hold square roots
//   slmLens.fill(canvas, byteAt, colours)
//   slmLens.attentionMap({groups, groupOf, nameOfGroup, state, bytes, decode, shade, onPoint,
//       onChoose})  -> {root, draw(name), save(file)}
//     `state` has byWord, pair (kinds that read and are read) and at; bytes() gives the function
//     from a row and a column to a byte, decode that from a byte to attention
"use strict";
Object.assign(slmLens, (() => {
  function palette(shade) {
    const colours = new Uint32Array(256);
    for (let i = 0; i < 256; i++) {
      const [r, g, b] = slmLens.sequential(shade((i / 255) ** 2));
      colours[i] = (255 << 24) | (b << 16) | (g << 8) | r;
    }
    return colours;
  }

  function fill(canvas, byteAt, colours) {
    const drawing = canvas.getContext("2d");
    const image = drawing.createImageData(canvas.width, canvas.height);
    const pixels = new Uint32Array(image.data.buffer);
    for (let i = 0; i < pixels.length; i++) pixels[i] = colours[byteAt(i)];
    drawing.putImageData(image, 0, 0);
  }

  const LEFT = 92;
  const TOP = 74;

  function attentionMap({ groups, groupOf, nameOfGroup, state, bytes, decode, shade, onPoint,
    onChoose }) {
    const { element } = slmLens;
    const canvas = element("canvas", { class: "map", tabindex: 0, role: "application" });
    const root = element("div", { class: "map-holder" }, canvas);
    const pixels = element("canvas");
    let rows = [];
    let columns = [];
    let side = 0;
    let cursor = null;
    let name = "";

    // Indices of what is shown: groups or positions of the kinds that are asked for.
    function shown(kind) {
      const found = [];
      groups.forEach((group, i) => {
        if (kind !== null && group.kind !== kind) return;
        if (state.byWord) found.push(i);
        else for (let p = group.start; p < group.end; p++) found.push(p);
      });
      return found;
    }
    const groupAt = (i) => (state.byWord ? i : groupOf[i]);

    // Names of words along one side, where there is room: [name, middle in pixels, kind].
    function ticks(shownAt, step) {
      const found = [];
      let free = -Infinity;
      for (let i = 0; i < shownAt.length;) {
        const group = groupAt(shownAt[i]);
        let end = i;
        while (end < shownAt.length && groupAt(shownAt[end]) === group) end++;
        const middle = (i + end) / 2 * step;
        if (middle - free >= 11) {
          found.push([nameOfGroup(group), middle, groups[group].kind]);
          free = middle;
        }
        i = end;
      }
      return found;
    }

    function labels(drawing, stepX, stepY) {
      const cut = (text, width) => {
        let short = text;
        while (short.length > 1 && drawing.measureText(short).width > width) short = short.slice(0, -1);
        return short === text ? text : `${short.slice(0, -1)}…`;
      };
      // As in the strip: words in the colour of their modality, markers slanted.
      const pen = (kind) => {
        const isWord = kind === "speech" || kind === "text";
        drawing.fillStyle = slmLens.variable(isWord ? `--${kind}-ink` : "--muted");
        drawing.font = `${isWord ? "" : "italic "}11px system-ui, sans-serif`;
      };
      drawing.textBaseline = "middle";
      drawing.textAlign = "right";
      for (const [text, middle, kind] of ticks(rows, stepY)) {
        pen(kind);
        drawing.fillText(cut(text, LEFT - 22), LEFT - 5, TOP + middle);
      }
      drawing.textAlign = "left";
      for (const [text, middle, kind] of ticks(columns, stepX)) {
        pen(kind);
        drawing.save();
        drawing.translate(LEFT + middle, TOP - 5);
        drawing.rotate(-Math.PI / 2);
        drawing.fillText(cut(text, TOP - 22), 0, 0);
        drawing.restore();
      }
      drawing.fillStyle = slmLens.variable("--muted");
      drawing.font = "11px system-ui, sans-serif";
      drawing.textAlign = "center";
      drawing.fillText("is read", LEFT + side / 2, 8);
      drawing.save();
      drawing.translate(8, TOP + side / 2);
      drawing.rotate(-Math.PI / 2);
      drawing.fillText("reads", 0, 0);
      drawing.restore();
    }

    function fillPixels() {
      pixels.width = columns.length;
      pixels.height = rows.length;
      const byteAt = bytes();
      const width = columns.length;
      let [row, column] = [0, -1];
      fill(pixels, () => {  // called in the order of pixels
        if (++column === width) [row, column] = [row + 1, 0];
        return byteAt(rows[row], columns[column]);
      }, palette(shade));
    }

    function show() {
      const width = Math.min(root.clientWidth || 700, 760);
      side = Math.max(120, width - LEFT - 4);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${side + TOP + 4}px`;
      const drawing = paint(canvas, width, window.devicePixelRatio || 1);
      frame(drawing, rows.findIndex((i) => (state.byWord ? groupOf[state.at] === i : state.at === i)));
      if (cursor) cross(drawing);
    }

    function paint(target, width, ratio) {
      target.width = Math.round(width * ratio);
      target.height = Math.round((side + TOP + 4) * ratio);
      const drawing = target.getContext("2d");
      drawing.scale(ratio, ratio);
      drawing.imageSmoothingEnabled = Math.max(rows.length, columns.length) > side * ratio;
      drawing.imageSmoothingQuality = "high";
      if (rows.length && columns.length) {
        drawing.drawImage(pixels, LEFT, TOP, side, side);
        labels(drawing, side / columns.length, side / rows.length);
      }
      drawing.strokeStyle = slmLens.variable("--line");
      drawing.strokeRect(LEFT - 0.5, TOP - 0.5, side + 1, side + 1);
      return drawing;
    }

    // The map alone, without what is selected, on paper and large enough for print.
    function save(file) {
      const target = element("canvas");
      paint(target, side + LEFT + 4, 4);
      const drawing = target.getContext("2d");
      drawing.globalCompositeOperation = "destination-over";
      drawing.fillStyle = slmLens.variable("--paper");
      drawing.fillRect(0, 0, target.width, target.height);
      target.toBlob((picture) => slmLens.download(file, picture, "image/png"));
    }

    function frame(drawing, row) {
      if (row < 0 || state.at === null) return;
      const step = side / rows.length;
      drawing.strokeStyle = slmLens.variable("--next");
      drawing.lineWidth = 1.5;
      drawing.strokeRect(LEFT, TOP + row * step - 0.5, side, Math.max(step, 2) + 1);
      drawing.lineWidth = 1;
    }

    function cross(drawing) {
      const [row, column] = cursor;
      const [stepX, stepY] = [side / columns.length, side / rows.length];
      drawing.strokeStyle = slmLens.variable("--next");
      drawing.strokeRect(LEFT + column * stepX - 1, TOP + row * stepY - 1, stepX + 2, stepY + 2);
    }

    function move(row, column) {
      if (!rows.length || !columns.length) return;
      const clamp = (i, size) => Math.min(size - 1, Math.max(0, i));
      cursor = [clamp(row, rows.length), clamp(column, columns.length)];
      canvas.dataset.query = rows[cursor[0]];
      canvas.dataset.key = columns[cursor[1]];
      canvas.dataset.value = decode(bytes()(rows[cursor[0]], columns[cursor[1]]));
      show();
      onPoint(rows[cursor[0]], columns[cursor[1]]);
    }
    canvas.addEventListener("mousemove", (event) => {
      const x = event.offsetX - LEFT;
      const y = event.offsetY - TOP;
      if (x < 0 || y < 0 || x >= side || y >= side) return;
      move(Math.floor(y / side * rows.length), Math.floor(x / side * columns.length));
    });
    canvas.addEventListener("click", () => cursor && onChoose(rows[cursor[0]]));
    canvas.addEventListener("keydown", (event) => {
      const [row, column] = cursor || [0, 0];
      const to = { ArrowUp: [row - 1, column], ArrowDown: [row + 1, column],
        ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1] }[event.key];
      if (to) move(...to);
      else if (event.key === "Enter" && cursor) onChoose(rows[row]);
      else return;
      event.preventDefault();
    });
    new ResizeObserver(show).observe(root);

    function draw(title) {
      name = title;
      rows = shown(state.pair ? state.pair[0] : null);
      columns = shown(state.pair ? state.pair[1] : null);
      cursor = null;
      canvas.dataset.rows = rows.length;
      canvas.dataset.columns = columns.length;
      canvas.setAttribute("aria-label",
        `attention of ${name}: ${rows.length} rows read ${columns.length} columns; arrow keys move`);
      fillPixels();
      show();
    }
    return { root, draw, save };
  }

  return { palette, fill, attentionMap };
})());
