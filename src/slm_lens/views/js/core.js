// What every view may use, as `slmLens` and as the third argument of its draw function.
//
//   slmLens.register(kind, draw)        draw(root, data, context), once for each view of the kind
//   context.array(data.x)               {values: typed array, shape}, decoded when first asked for
//   context.select({word, layer, position, token})   what is selected now; what is left out stays,
//                                       null clears; a new word clears the position
//                                       layer n is block n, and the state that it reads
//   context.selection()                 the same four, null where nothing is
//   context.onSelect(fn)                fn(selection) after each change, and at once if there is one
//   context.pin(token), context.onPins(fn)   pins a token id, or takes it off; fn(array of token ids)
//   context.play(start_s, end_s)        plays the sound, if a view of the utterance has it
//   context.onPlay(fn)                  for that view: fn(start_s, end_s)
//   context.onPlayable(fn)              fn() once the utterance has sound
//   context.setTime(s), context.onTime(fn)   where the sound is; null when it stands still
//
//   slmLens.drawing(kind), slmLens.newContext()   for a view that draws others within itself
//
// Selection, pins and sound are shared by the views of one utterance on a page. dom.js and colour.js
// add elements, keyboard and colours.
"use strict";
const slmLens = (() => {
  const draws = new Map();
  const buses = new Map();
  const TYPES = {
    uint8: Uint8Array, int8: Int8Array, uint16: Uint16Array, int16: Int16Array,
    uint32: Uint32Array, int32: Int32Array, float32: Float32Array, float64: Float64Array,
  };

  function register(kind, draw) {
    draws.set(kind, draw);
  }

  function bytesOf(base64) {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
    const text = atob(base64);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return bytes;
  }

  const decoded = new WeakMap();
  function array(sent) {
    if (!decoded.has(sent)) {
      const values = new TYPES[sent.dtype](bytesOf(sent.$array).buffer);
      decoded.set(sent, { values, shape: sent.shape });
    }
    return decoded.get(sent);
  }

  function tell(listeners, ...values) {
    for (const listener of [...listeners]) listener(...values);
  }

  function makeBus() {
    return {
      selection: { word: null, layer: null, position: null, token: null },
      pins: [], time: null, player: null,
      selecting: new Set(), pinning: new Set(), playable: new Set(), timing: new Set(),
    };
  }

  function busOf(utterance) {
    if (utterance === null) return makeBus();
    if (!buses.has(utterance)) buses.set(utterance, makeBus());
    return buses.get(utterance);
  }

  function contextOf(bus) {
    return {
      array,
      selection: () => ({ ...bus.selection }),
      select(change) {
        const next = { ...bus.selection };
        if ("word" in change && !("position" in change)) next.position = null;
        for (const key of Object.keys(next)) if (change[key] !== undefined) next[key] = change[key];
        if (Object.keys(next).every((key) => next[key] === bus.selection[key])) return;
        bus.selection = next;
        tell(bus.selecting, { ...next });
      },
      onSelect(fn) {
        bus.selecting.add(fn);
        if (Object.values(bus.selection).some((value) => value !== null)) fn({ ...bus.selection });
      },
      pins: () => [...bus.pins],
      pin(token) {
        const at = bus.pins.indexOf(token);
        bus.pins = at < 0 ? [...bus.pins, token] : bus.pins.filter((other) => other !== token);
        tell(bus.pinning, [...bus.pins]);
      },
      onPins(fn) {
        bus.pinning.add(fn);
        if (bus.pins.length) fn([...bus.pins]);
      },
      play(start_s, end_s) {
        if (bus.player) bus.player(start_s, end_s);
      },
      onPlay(fn) {
        bus.player = fn;
        tell(bus.playable);
      },
      onPlayable(fn) {
        bus.playable.add(fn);
        if (bus.player) fn();
      },
      setTime(time) {
        bus.time = time;
        tell(bus.timing, time);
      },
      onTime(fn) {
        bus.timing.add(fn);
      },
    };
  }

  function drawOne(section) {
    const root = section.querySelector(".drawing");
    const holder = section.querySelector('script[type="application/json"]');
    try {
      const sent = JSON.parse(holder.textContent);
      holder.remove();  // the text of large arrays is not kept twice
      draws.get(section.dataset.kind)(root, sent.data, contextOf(busOf(sent.utterance)));
      section.dataset.drawn = "true";
    } catch (error) {
      root.textContent = `This view could not be drawn: ${error.message}`;
      console.error(error);
    }
  }

  // Libraries come compressed: a third of their size, in notebooks once for each output.
  async function unpack() {
    for (const holder of document.querySelectorAll('script[type="application/gzip"]')) {
      const packed = new Blob([bytesOf(holder.textContent)]).stream();
      const script = document.createElement("script");
      const unpacked = packed.pipeThrough(new DecompressionStream("gzip"));
      script.textContent = await new Response(unpacked).text();
      holder.replaceWith(script);
    }
  }

  async function start() {
    await unpack();
    for (const section of document.querySelectorAll("section[data-view]")) drawOne(section);
    document.documentElement.dataset.ready = "true";
    if (window.parent === window) return;
    const main = document.querySelector("main");
    const tellHeight = () => {
      const height = main.getBoundingClientRect().bottom + window.scrollY + 16;
      window.parent.postMessage({ slmLensHeight: height }, "*");
    };
    new ResizeObserver(tellHeight).observe(main);
    tellHeight();
  }

  const drawing = (kind) => draws.get(kind);
  const newContext = () => contextOf(makeBus());

  return { register, start, array, drawing, newContext };
})();
