// The three charts of the variant that was chosen: cache hits, latency, memory.

import { LineChart, decades, linear } from "./chart.js";
import { bytes, ms, percent } from "./format.js";
import { WINDOW, hitRatios } from "./history.js";

const panel = (id) => document.getElementById(id);
const cache = new LineChart(panel("cache"), "Cache hits", percent);
const latency = new LineChart(panel("latency"), "Latency", ms);
const memory = new LineChart(panel("memory"), "Memory", bytes);

/** Show the samples of a variant up to `now`. */
export function showCharts(variant, samples, now) {
  const shown = (points) => points.filter((each) => each.time >= now - WINDOW);
  const of = (field) => shown(samples.map((each) => ({ time: each.time, value: each[field] })));

  cache.show([{ name: "hits", points: shown(hitRatios(samples)) }], linear(1), now);

  const [p50, p99] = [of("p50"), of("p99")];
  const lines = [
    { name: "p50", points: p50 },
    { name: "p99", points: p99 },
  ];
  latency.show(lines, decades([...p50, ...p99].map((each) => each.value)), now);

  const limit = Math.max(0, ...variant.instances.map((each) => each.memory_limit ?? 0));
  memory.show(
    variant.instances.map((instance) => ({
      name: instance.id,
      points: shown(
        samples.map((each) => ({
          time: each.time,
          value: each.memory[instance.id] ?? null,
        })),
      ),
    })),
    linear(limit || 1),
    now,
    limit || null,
  );
}
