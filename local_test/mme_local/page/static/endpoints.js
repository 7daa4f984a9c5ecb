// The table of endpoints, a row for each variant; the row that is chosen is what the page shows.

import { el, empty, keyed, set, text } from "./dom.js";
import { NONE, bytes, count, ms, percent } from "./format.js";
import { variantKey } from "./history.js";

const COLUMNS = [
  ["Endpoint", ""],
  ["Status", ""],
  ["Variant", ""],
  ["Type", ""],
  ["Instances", "number"],
  ["Models", "number"],
  ["Memory", "memory"],
  ["Cache hits", "number"],
  ["p50", "number"],
  ["p99", "number"],
  ["Invocations", "number"],
];
const body = document.getElementById("endpoints-body");
let choose = () => {};

/** Call `then(key)` when a variant is chosen. */
export function onChoose(then) {
  choose = then;
}

/** Show all endpoints, with the variant of this key as the chosen one. */
export function showEndpoints(endpoints, chosen) {
  if (!endpoints.length) {
    const words = "No endpoint yet. Any AWS client can make one; run yours unchanged under:";
    empty(body, words, "mme local exec -- python my_notebook.py");
    return;
  }
  let rows = body.querySelector("tbody");
  if (!rows) {
    rows = el("tbody", { role: "rowgroup" });
    const heads = COLUMNS.map(([name, kind]) =>
      el("th", { scope: "col", role: "columnheader", class: kind }, name),
    );
    const table = el(
      "table",
      { role: "table" },
      el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...heads)),
      rows,
    );
    body.replaceChildren(
      el(
        "div",
        {
          class: "scroll",
          role: "region",
          "aria-label": "Table of endpoints",
          tabindex: 0,
        },
        table,
      ),
    );
  }
  const items = endpoints.flatMap((endpoint) =>
    (endpoint.variants.length ? endpoint.variants : [null]).map((variant, index) => ({
      endpoint,
      variant,
      first: index === 0,
      key: variantKey(endpoint, variant),
    })),
  );
  keyed(
    rows,
    items,
    (item) => item.key,
    row,
    (element, item) => fill(element, item, chosen),
  );
}

function row(item) {
  const button = el("button", { type: "button" }, item.endpoint.name);
  const status = el("td", { role: "cell" }, el("span", { class: "status" }));
  const memory = el(
    "td",
    { class: "memory", role: "cell", "data-label": "Memory" },
    el("span", { class: "meter", role: "img" }, el("i")),
    el("span"),
  );
  const cells = COLUMNS.slice(2).map(([name, kind]) =>
    name === "Memory" ? memory : el("td", { class: kind, role: "cell", "data-label": name }),
  );
  return el(
    "tr",
    { role: "row", onclick: () => choose(item.key) },
    el("th", { scope: "row", role: "rowheader" }, button),
    status,
    ...cells,
  );
}

function fill(element, { endpoint, variant, first, key }, chosen) {
  const cells = [...element.children];
  set(element, { class: `${key === chosen ? "chosen" : ""}${first ? "" : " more"}` });
  set(cells[0].firstChild, {
    "aria-pressed": key === chosen,
    "aria-label": `Show ${endpoint.name}${variant ? `, variant ${variant.name}` : ""}`,
  });
  const reason = endpoint.failure_reason ?? null;
  text(
    set(cells[1].firstChild, { "data-status": endpoint.status, title: reason }),
    endpoint.status,
  );
  const instances = variant?.instances ?? [];
  const sum = (field) => instances.reduce((total, each) => total + (each[field] ?? 0), 0);
  const [used, limit] = [sum("memory_used"), sum("memory_limit")];
  const { hits = 0, misses = 0 } = variant?.cache ?? {};
  const ready = instances.filter((each) => each.status === "InService").length;
  const values = [
    variant?.name ?? NONE,
    variant?.instance_type ?? NONE,
    variant ? `${ready} of ${variant.desired}` : NONE,
    variant ? count(instances.reduce((total, each) => total + each.loaded.length, 0)) : NONE,
    null,
    percent(hits + misses ? hits / (hits + misses) : null),
    ms(variant?.latency_ms.p50),
    ms(variant?.latency_ms.p99),
    variant ? count(hits + misses) : NONE,
  ];
  values.forEach((value, index) => value !== null && text(cells[index + 2], value));
  memoryCell(cells[6], used, limit);
}

function memoryCell(cell, used, limit) {
  const [meter, words] = cell.children;
  const share = limit ? used / limit : 0;
  set(meter, {
    "aria-label": percent(share),
    class: `meter${share > 0.9 ? " high" : ""}`,
    hidden: limit ? null : "",
  });
  meter.firstChild.style.width = `${Math.min(100, share * 100).toFixed(1)}%`;
  text(words, limit ? `${bytes(used)} of ${bytes(limit)}` : NONE);
}
