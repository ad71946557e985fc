"use strict";
slmLens.register("speech_tokens", (root, data, context) => {
  const strip = slmLens.strip(data, context);
  root.append(slmLens.inText(data), strip.root);
});
