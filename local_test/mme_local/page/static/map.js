// The map of loaded models: a box for each, its area the model's bytes, its shade the last use.

import { el, empty, keyed, onResize, set, text } from "./dom.js";
import { NONE, ago, bytes, clock, count, percent, short } from "./format.js";
import { settled, strips } from "./treemap.js";

const SHADES = [
  { name: "in flight", class: "use-0", is: (model) => model.in_flight > 0 },
  { name: "< 10 s ago", class: "use-1", is: (model, now) => now - model.last_used < 10 },
  { name: "< 1 min ago", class: "use-2", is: (model, now) => now - model.last_used < 60 },
  { name: "longer ago", class: "use-3", is: () => true },
];
const HINT = "Point at a model, or focus the map and use the arrow keys.";

const instances = document.getElementById("instances");
const inspector = document.getElementById("inspector");
const orders = new Map();
let shown = { key: "", variant: { instances: [] }, now: 0 };
let looked = null;

document
  .getElementById("map-legend")
  .append(
    ...SHADES.map((shade) =>
      el("li", {}, el("span", { class: `swatch ${shade.class}` }), shade.name),
    ),
  );

/** Show the instances of a variant; `key` says which it is. */
export function showMap(endpoint, key, variant, now) {
  if (shown.key !== key) looked = null;
  shown = { key, variant, now };
  if (!variant.instances.length) {
    empty(
      instances,
      "No instance is running yet. What the container says is in the log below, and in:",
      `mme local logs ${endpoint.name}`,
    );
  } else {
    keyed(instances, variant.instances, (each) => `${key}/${each.id}`, panel, fill);
    hint(endpoint);
  }
  inspect();
}

function hint(endpoint) {
  const idle = shown.variant.instances.every((each) => !each.loaded.length);
  const there = instances.querySelector(":scope > .next");
  if (!idle) there?.remove();
  else if (!there) {
    const command =
      `mme local exec -- aws sagemaker-runtime invoke-endpoint --endpoint-name ${endpoint.name} ` +
      "--target-model MODEL.tar.gz --content-type text/csv --body fileb://row.csv out.json";
    const words = "No model is loaded. The first invocation that names one loads it:";
    instances.append(
      el("div", { class: "next" }, el("p", {}, words), el("code", { tabindex: 0 }, command)),
    );
  }
}

function panel(instance) {
  const boxes = el("div", {
    class: "boxes",
    role: "listbox",
    "aria-label": `Models loaded on ${instance.id}`,
    "aria-describedby": "inspector",
    onkeydown: keys,
    onfocusin: look,
    onpointerover: look,
    onpointerleave: leave,
    onfocusout: leave,
  });
  onResize(boxes, () => lay(boxes));
  const meter = el("span", { class: "meter", role: "img" }, el("i"));
  return el(
    "article",
    { class: "instance", "aria-label": `Instance ${instance.id}` },
    el("h3", {}, el("span", { class: "status" }), el("span", { class: "id" }, instance.id)),
    meter,
    el("p", { class: "figures" }),
    boxes,
  );
}

function fill(article, instance) {
  const status = article.querySelector(".status");
  text(set(status, { "data-status": instance.status }), instance.status);
  const share = instance.memory_limit ? instance.memory_used / instance.memory_limit : 0;
  const memory = `${bytes(instance.memory_used)} of ${bytes(instance.memory_limit)}`;
  const meter = article.querySelector(".meter");
  set(meter, {
    "aria-label": `Memory ${memory}, ${percent(share)}`,
    class: `meter${share > 0.9 ? " high" : ""}`,
  });
  meter.firstChild.style.width = `${Math.min(100, share * 100).toFixed(1)}%`;
  const cpu = typeof instance.cpu === "number" ? instance.cpu.toFixed(2) : NONE;
  text(
    article.querySelector(".figures"),
    `${memory} · ${cpu} CPU · ${count(instance.loaded.length)} loaded · ${count(instance.on_disk.length)} on disk`,
  );
  const boxes = article.querySelector(".boxes");
  const models = new Map(instance.loaded.map((model) => [model.hash, model]));
  const name = `${shown.key}/${instance.id}`;
  const order = settled(orders.get(name) ?? [], [...models.keys()]);
  orders.set(name, order);
  const focused = boxes.contains(document.activeElement);
  keyed(
    boxes,
    order.map((hash) => models.get(hash)),
    (model) => model.hash,
    box,
    shade,
  );
  lay(boxes);
  if (focused && !boxes.contains(document.activeElement)) boxes.querySelector(".box")?.focus();
}

function box() {
  return el(
    "div",
    { class: "box", role: "option", "aria-selected": "false", tabindex: -1 },
    el("span", { class: "name" }),
    el("span", { class: "size" }),
  );
}

function shade(element, model) {
  element.model = model;
  const use = SHADES.find((each) => each.is(model, shown.now)).class;
  const same = looked?.model.hash === model.hash ? " same" : "";
  set(element, {
    class: `box ${use}${same}`,
    "data-model": model.target_model,
    "aria-label": `${model.target_model}, ${bytes(model.bytes)}`,
  });
  text(element.firstChild, short(model.target_model));
  text(element.lastChild, bytes(model.bytes));
}

// One scale for all instances: the one with the most bytes fills its panel, the others a part.
function lay(boxes) {
  const children = [...boxes.children];
  const size = (models) => models.reduce((sum, model) => sum + Math.max(1, model.bytes), 0);
  const most = Math.max(...shown.variant.instances.map((each) => size(each.loaded)));
  const models = children.map((child) => child.model);
  const width = boxes.clientWidth;
  const height = (boxes.clientHeight * size(models)) / most;
  if (!children.length || !width) return;
  strips(
    models.map((model) => Math.max(1, model.bytes)),
    width,
    height,
  ).forEach((place, index) => {
    const { style, classList } = children[index];
    style.left = `${place.left.toFixed(2)}px`;
    style.top = `${place.top.toFixed(2)}px`;
    style.width = `${place.width.toFixed(2)}px`;
    style.height = `${place.height.toFixed(2)}px`;
    classList.toggle("bare", place.width < 46 || place.height < 18);
    classList.toggle("tall", place.height >= 36 && place.width >= 64);
  });
  rove(boxes, children.find((child) => child.tabIndex === 0) ?? children[0]);
}

// Tab stops at one box of each instance: where it was left, or at the first.
function rove(boxes, stop) {
  for (const child of boxes.children) child.tabIndex = child === stop ? 0 : -1;
}

function look(event) {
  const target = event.target.closest(".box");
  if (!target) return;
  if (event.type === "focusin") rove(target.parentNode, target);
  looked = target;
  inspect();
}

function leave(event) {
  const focus = document.activeElement;
  looked = event.type === "pointerleave" && focus?.matches(".box") ? focus : null;
  inspect();
}

function inspect() {
  const model = looked?.isConnected ? looked.model : null;
  for (const each of instances.querySelectorAll(".box")) {
    each.classList.toggle("same", each.model.hash === model?.hash);
    set(each, { "aria-selected": each === looked });
  }
  if (!model) return void inspector.replaceChildren(el("span", { class: "muted" }, HINT));
  const facts = [
    ["", model.target_model],
    ["", bytes(model.bytes)],
    ["loaded", `${clock(model.since)}, ${ago(model.since, shown.now)}`],
    ["last used", ago(model.last_used, shown.now)],
    ["in flight", count(model.in_flight)],
    ["hash", model.hash.slice(0, 12)],
  ];
  inspector.replaceChildren(
    ...facts.map(([name, value], index) =>
      el(
        "span",
        { class: index ? "fact" : "fact model" },
        el("span", { class: "muted" }, name && `${name} `),
        value,
      ),
    ),
  );
}

const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function keys(event) {
  const all = [...instances.querySelectorAll(".box")];
  const here = document.activeElement;
  const siblings = [...here.parentNode.children];
  const next =
    event.key === "Home"
      ? siblings[0]
      : event.key === "End"
        ? siblings.at(-1)
        : event.key in DIRECTIONS
          ? neighbour(here, all, DIRECTIONS[event.key])
          : null;
  if (next === null) return;
  event.preventDefault();
  next.focus();
}

// The nearest box whose middle lies that way; what is off to the side counts as further.
function neighbour(here, all, [dx, dy]) {
  const middle = (box) => {
    const { left, top, width, height } = box.getBoundingClientRect();
    return [left + width / 2, top + height / 2];
  };
  const [x, y] = middle(here);
  let best = here;
  let least = Infinity;
  for (const each of all) {
    const [ex, ey] = middle(each);
    const along = (ex - x) * dx + (ey - y) * dy;
    const aside = Math.abs((ex - x) * dy) + Math.abs((ey - y) * dx);
    if (along > 1 && along + 2 * aside < least) [best, least] = [each, along + 2 * aside];
  }
  return best;
}
