// Numbers of a lens grid, as `lens_grid_data` sends them.
//
//   slmLens.lensGrid(data, array) -> {site(name) -> {
//       n, words, spans, top(subset, layer, row) -> [{token, log_prob}], mass(layer, row),
//       rank(subset, layer, row, followed) -> 1.. or null},
//     name(token), current(word), next(word) -> number of what is followed or null, holds(followed, token)}
"use strict";
slmLens.lensGrid = (data, array) => {
  const { written } = slmLens;

  function name(token) {
    const found = data.tokens[token];
    if (!found) return `id ${token}`;
    if (found.unit === undefined) {
      return found.kind === "text" ? written(found.label) : found.label.replace(/^<|>$/g, "");
    }
    return found.stream === "units" ? `${found.unit}` : `${found.stream} ${found.unit}`;
  }

  function site(which) {
    const sent = data.sites[which];
    const n = sent.words.length;
    return {
      n,
      words: sent.words,
      spans: sent.spans,
      top(subset, layer, row) {
        const ids = array(sent.top_ids[subset]);
        const logs = array(sent.top_log_prob[subset]);
        const k = ids.shape[2];
        const first = (layer * n + row) * k;
        const found = [];
        for (let i = first; i < first + k; i++) {
          if (ids.values[i] === 0) break;  // fewer tokens than k
          found.push({ token: ids.values[i] - 1, log_prob: logs.values[i] / data.log_prob_scale });
        }
        return found;
      },
      mass(layer, row) {
        const first = 3 * (layer * n + row);
        const [text, speech, other] = array(sent.mass).values.slice(first, first + 3);
        return { text, speech, other };
      },
      rank(subset, layer, row, followed) {
        if (followed === null || followed === undefined) return null;
        const ranks = array(sent.rank[subset]);
        return ranks.values[(layer * n + row) * ranks.shape[2] + followed] || null;
      },
    };
  }

  const known = new Map();
  data.followed.forEach((followed, i) => {
    for (const token of followed.tokens) if (!known.has(token)) known.set(token, i);
  });
  const sites = new Map(Object.keys(data.sites).map((which) => [which, site(which)]));
  return {
    site: (which) => sites.get(which),
    name,
    current: (word) => (word === null ? null : data.word_followed[word]),
    next: (word) => (word === null ? null : data.next_followed[word]),
    followedBy: (token) => (known.has(token) ? known.get(token) : null),
    holds: (followed, token) => followed !== null && followed !== undefined
      && data.followed[followed].tokens.includes(token),
  };
};
