// A component of circuitsvis, whose script is on the page once, with properties from our data.
"use strict";
slmLens.register("circuits", (root, data) => {
  const holder = slmLens.element("div", { class: "circuits", id: `circuits-${root.parentElement.id}`,
    data: { component: data.component } });
  root.append(holder);
  CircuitsVis.render(holder.id, CircuitsVis[data.component], data.properties);
});
