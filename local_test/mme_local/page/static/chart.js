// A line chart over the last minutes as plain SVG; all charts share one moment under the pointer.

import { el, onResize, set, svg, text } from "./dom.js";
import { clock } from "./format.js";
import { WINDOW } from "./history.js";

const LEFT = 56;
const RIGHT = 10;
const TOP = 6;
const BOTTOM = 21;
// Where samples are further apart than this, nothing is known of what was between.
const GAP_SECONDS = 5;

const charts = new Set();
let moment = null;

/** An axis from zero: where a value lies on it, from 0 to 1, and what is marked. */
export const linear = (top) => ({ share: (value) => value / top, marks: [0, top / 2, top] });

/** An axis of powers of ten that holds the values, which differ by orders of magnitude. */
export function decades(values) {
  const logs = values.filter((value) => value > 0).map(Math.log10);
  const first = Math.floor(Math.min(0, ...logs));
  const last = Math.max(first + 2, Math.ceil(Math.max(0, ...logs)));
  const share = (value) => Math.max(0, (Math.log10(value) - first) / (last - first));
  const marks = Array.from({ length: last - first + 1 }, (_, index) => 10 ** (first + index));
  return { share, marks };
}

// 50 % for 50.0 %, 4 GiB for 4.00 GiB: a mark is a round number.
const round = (label) => label.replace(/\.0+(?=\D|$)/, "");

/** The marks below every chart: five minutes, and where each minute is. */
export function timeAxis(width, height) {
  const place = (ago) => LEFT + (1 - ago / WINDOW) * (width - LEFT - RIGHT);
  const minutes = Array.from({ length: WINDOW / 60 + 1 }, (_, minute) => minute);
  return svg(
    "g",
    { class: "axis" },
    ...minutes.flatMap((minute) => {
      const x = place(minute * 60);
      const anchor = minute === 0 ? "end" : "middle";
      const label = svg("text", {
        x: minute ? x : x + RIGHT,
        y: height - 4,
        "text-anchor": anchor,
      });
      label.textContent = minute === 0 ? "now" : `−${minute} min`;
      return [svg("line", { x1: x, x2: x, y1: height - BOTTOM, y2: height - BOTTOM + 3 }), label];
    }),
  );
}

/** The pixel of a time, in charts of this width that end now. */
export const timeScale = (width, now) => (time) =>
  LEFT + (1 - (now - time) / WINDOW) * (width - LEFT - RIGHT);

export const margins = { LEFT, RIGHT, TOP, BOTTOM };

/** Lines of values over time, with the values of one moment in the heading. */
export class LineChart {
  /** @param {HTMLElement} panel with a `.head`; @param {(value) => string} format of values */
  constructor(panel, name, format) {
    Object.assign(this, { name, format, lines: [], rule: null, axis: linear(1), now: 0 });
    this.legend = el("ul", { class: "legend" });
    panel.querySelector(".head").append(this.legend);
    this.svg = svg("svg", { class: "plot", role: "img", tabindex: 0 });
    panel.append(this.svg);
    charts.add(this);
    onResize(this.svg, () => this.draw());
    this.svg.addEventListener("pointermove", (event) => point(this.timeAt(event.offsetX)));
    this.svg.addEventListener("pointerleave", () => point(null));
    this.svg.addEventListener("blur", () => point(null));
    this.svg.addEventListener("keydown", (event) => this.key(event));
  }

  /** @param {{name: string, points: {time, value}[]}[]} lines; `rule` is a limit drawn across */
  show(lines, axis, now, rule = null) {
    Object.assign(this, { lines, axis, now, rule });
    this.draw();
  }

  key(event) {
    const step = { ArrowLeft: -5, ArrowRight: 5 }[event.key];
    if (step) point(Math.min(this.now, Math.max(this.now - WINDOW, (moment ?? this.now) + step)));
    else if (event.key === "Escape") point(null);
    else return;
    event.preventDefault();
  }

  timeAt(x) {
    const share = (x - LEFT) / (this.svg.clientWidth - LEFT - RIGHT);
    return this.now - WINDOW * (1 - Math.min(1, Math.max(0, share)));
  }

  draw() {
    const width = this.svg.clientWidth;
    const height = this.svg.clientHeight;
    if (!width) return;
    const x = timeScale(width, this.now);
    const y = (value) => TOP + (1 - this.axis.share(value)) * (height - TOP - BOTTOM);
    const parts = [this.grid(width, y), timeAxis(width, height)];
    if (this.rule !== null) parts.push(across(width, y(this.rule), "rule"));
    this.lines.forEach((line, index) => {
      const course = svg("path", {
        class: `line line-${index % 4}`,
        d: path(line.points, x, y),
      });
      parts.push(course);
    });
    if (moment !== null) {
      const at = x(moment);
      parts.push(svg("line", { class: "moment", x1: at, x2: at, y1: TOP, y2: height - BOTTOM }));
    }
    set(this.svg, { viewBox: `0 0 ${width} ${height}` }).replaceChildren(...parts);
    this.read();
  }

  grid(width, y) {
    return svg(
      "g",
      { class: "grid" },
      ...this.axis.marks.flatMap((mark) => {
        const label = svg("text", { x: LEFT - 8, y: y(mark) + 4, "text-anchor": "end" });
        label.textContent = mark === 0 ? "0" : round(this.format(mark));
        return [across(width, y(mark), ""), label];
      }),
    );
  }

  read() {
    const values = this.lines.map((line) => this.format(near(line.points, moment ?? this.now)));
    const items = this.lines.map((line, index) =>
      el(
        "li",
        {},
        el("span", { class: `key line-${index % 4}` }),
        el("span", { class: "name" }, line.name),
        el("b", {}, values[index]),
      ),
    );
    if (moment !== null) items.unshift(el("li", { class: "at" }, clock(moment)));
    this.legend.replaceChildren(...items);
    const when = moment === null ? "now" : `at ${clock(moment)}`;
    const said = this.lines.map((line, index) => `${line.name} ${values[index]}`).join(", ");
    set(this.svg, { "aria-label": `${this.name} ${when}: ${said || "nothing yet"}` });
  }
}

function across(width, y, name) {
  return svg("line", { class: name, x1: LEFT, x2: width - RIGHT, y1: y, y2: y });
}

function path(points, x, y) {
  let drawn = "";
  let last = null;
  for (const { time, value } of points) {
    if (value === null || value === undefined) {
      last = null;
      continue;
    }
    const joined = last !== null && time - last <= GAP_SECONDS;
    drawn += `${joined ? "L" : "M"}${x(time).toFixed(1)} ${y(value).toFixed(1)}`;
    last = time;
  }
  return drawn;
}

function near(points, time) {
  let best = null;
  for (const each of points) {
    if (!best || Math.abs(each.time - time) <= Math.abs(best.time - time)) best = each;
  }
  return best && Math.abs(best.time - time) <= GAP_SECONDS ? best.value : null;
}

function point(time) {
  if (time === moment) return;
  moment = time;
  for (const chart of charts) chart.draw();
}
