// Loads and evictions: how many when, as bars up and down, and each event in words.

import { margins, timeAxis, timeScale } from "./chart.js";
import { el, empty, keyed, onResize, set, svg } from "./dom.js";
import { bytes, clock, seconds } from "./format.js";
import { WINDOW, sort } from "./history.js";

const BIN_SECONDS = 5;
const MOST_ROWS = 200;
const NAMED = new Set([
  "time",
  "kind",
  "endpoint",
  "variant",
  "target_model",
  "job",
  "name",
  "bytes",
  "seconds",
]);

const chart = document.getElementById("timeline-chart");
const list = document.getElementById("events");
const plot = svg("svg", { class: "plot", role: "img" });
const legend = el("ul", { class: "legend" });
chart.append(plot);
document.querySelector("#timeline .head").append(legend);
let shown = { events: [], now: 0 };
onResize(plot, draw);

/** Show the events, oldest first, that are of one variant, or of no endpoint at all. */
export function showTimeline(events, endpoint, variant, now) {
  const ours = (event) =>
    !event.endpoint ||
    (event.endpoint === endpoint && (!event.variant || event.variant === variant));
  shown = { events: events.filter(ours), now };
  draw();
  if (!shown.events.length) {
    const words =
      "Nothing has happened yet. What your program does will appear here; run it under:";
    empty(list, words, "mme local exec -- python my_notebook.py");
    return;
  }
  keyed(list, shown.events.slice(-MOST_ROWS).reverse(), (event) => JSON.stringify(event), line);
}

function draw() {
  const [width, height] = [plot.clientWidth, plot.clientHeight];
  if (!width) return;
  const bins = new Map();
  const totals = { load: 0, eviction: 0, failure: 0 };
  for (const event of shown.events) {
    const kind = sort(event);
    if (kind === "other" || event.time <= shown.now - WINDOW) continue;
    const start = Math.floor(event.time / BIN_SECONDS) * BIN_SECONDS;
    const bin = bins.get(start) ?? { load: 0, eviction: 0, failure: 0 };
    bin[kind] += 1;
    totals[kind] += 1;
    bins.set(start, bin);
  }
  set(plot, {
    viewBox: `0 0 ${width} ${height}`,
    "aria-label": `In the last five minutes: ${totals.load} loads, ${totals.eviction} evictions, ${totals.failure} failures`,
  }).replaceChildren(...axis(width, height, bins), ...bars(width, height, bins));
  legend.replaceChildren(
    ...[
      ["load", "loads"],
      ["eviction", "evictions"],
      ["failure", "failures"],
    ].map(([kind, words]) =>
      el(
        "li",
        {},
        el("span", { class: `swatch bar-${kind}` }),
        words,
        el("b", {}, String(totals[kind])),
      ),
    ),
  );
}

const most = (bins) =>
  Math.max(4, ...[...bins.values()].flatMap((bin) => [bin.load, bin.eviction + bin.failure]));
const middle = (height) => margins.TOP + (height - margins.TOP - margins.BOTTOM) / 2;

function axis(width, height, bins) {
  const y = middle(height);
  const { LEFT, RIGHT, TOP, BOTTOM } = margins;
  const marks = [
    [TOP, most(bins)],
    [y, 0],
    [height - BOTTOM, most(bins)],
  ];
  const lines = marks.flatMap(([at, value]) => {
    const label = svg("text", { x: LEFT - 8, y: at + 4, "text-anchor": "end" });
    label.textContent = String(value);
    return [svg("line", { x1: LEFT, x2: width - RIGHT, y1: at, y2: at }), label];
  });
  return [svg("g", { class: "grid" }, ...lines), timeAxis(width, height)];
}

function bars(width, height, bins) {
  const x = timeScale(width, shown.now);
  const y = middle(height);
  const unit = (y - margins.TOP) / most(bins);
  const parts = [];
  const bar = (kind, left, right, top, count) => {
    if (!count) return;
    parts.push(
      svg("rect", {
        class: `bar-${kind}`,
        x: left,
        y: top,
        width: right - left,
        height: count * unit,
      }),
    );
  };
  for (const [start, bin] of bins) {
    const left = Math.max(margins.LEFT, x(start) + 0.5);
    const right = Math.min(width - margins.RIGHT, x(start + BIN_SECONDS) - 0.5);
    if (right <= left) continue;
    bar("load", left, right, y - bin.load * unit, bin.load);
    bar("eviction", left, right, y, bin.eviction);
    bar("failure", left, right, y + bin.eviction * unit, bin.failure);
  }
  return parts;
}

function line(event) {
  const of = event.target_model ?? event.job ?? event.name ?? event.endpoint ?? "";
  const rest = Object.entries(event)
    .filter(([name]) => !NAMED.has(name))
    .map(([name, value]) => said(name, value));
  if (event.bytes !== undefined) rest.unshift(bytes(event.bytes));
  if (event.seconds !== undefined) rest.unshift(took(event.seconds));
  return el(
    "div",
    { class: `event is-${sort(event)}` },
    el("time", {}, clock(event.time)),
    el("span", { class: "kind" }, event.kind),
    el("span", { class: "of", title: of }, of),
    el("span", { class: "rest" }, rest.join(" · ")),
  );
}

const took = (value) =>
  value < 1
    ? `${Math.round(value * 1000)} ms`
    : value < 10
      ? `${value.toFixed(2)} s`
      : seconds(value);

function said(name, value) {
  if (name === "instance" || name === "status" || name === "reason") return String(value);
  return `${name.replaceAll("_", " ")} ${typeof value === "object" ? JSON.stringify(value) : value}`;
}
