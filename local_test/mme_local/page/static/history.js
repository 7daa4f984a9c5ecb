// What the page remembers: samples of each variant for the charts, and the events.

export const WINDOW = 300;
const MOST_EVENTS = 2000;
const KEY = "mme-history";
// Hits and misses are counted over this many seconds: one second's ratio is mostly noise.
const RATIO_SECONDS = 15;

/** Samples of the last `WINDOW` seconds, by endpoint and variant; they outlive a reload. */
export class History {
  constructor() {
    this.samples = new Map();
    try {
      this.samples = new Map(JSON.parse(sessionStorage.getItem(KEY) ?? "[]"));
    } catch {
      // Storage that is forbidden or was filled by another version: start with nothing.
    }
    addEventListener("pagehide", () => {
      try {
        sessionStorage.setItem(KEY, JSON.stringify([...this.samples]));
      } catch {
        // As above.
      }
    });
  }

  /** Remember the state at a time, in seconds. */
  add(state, time) {
    for (const endpoint of state.endpoints) {
      for (const variant of endpoint.variants) {
        const key = variantKey(endpoint, variant);
        const kept = (this.samples.get(key) ?? []).filter(
          (sample) => sample.time > time - WINDOW - RATIO_SECONDS,
        );
        const last = kept.at(-1);
        // Counters that went back are another endpoint's of the same name.
        if (last && last.hits > variant.cache.hits) kept.length = 0;
        kept.push(sampleOf(variant, time));
        this.samples.set(key, kept);
      }
    }
  }

  of(key) {
    return this.samples.get(key) ?? [];
  }
}

/** What names a variant among all endpoints'. */
export const variantKey = (endpoint, variant) => `${endpoint.name}/${variant?.name ?? ""}`;

function sampleOf(variant, time) {
  return {
    time,
    hits: variant.cache.hits,
    misses: variant.cache.misses,
    p50: variant.latency_ms.p50,
    p99: variant.latency_ms.p99,
    memory: Object.fromEntries(variant.instances.map((each) => [each.id, each.memory_used])),
  };
}

/** Share of hits among the invocations of the last seconds before each sample; null for none. */
export function hitRatios(samples) {
  let from = 0;
  return samples.map((sample) => {
    while (samples[from].time < sample.time - RATIO_SECONDS) from += 1;
    const hits = sample.hits - samples[from].hits;
    const all = hits + sample.misses - samples[from].misses;
    return { time: sample.time, value: all > 0 ? hits / all : null };
  });
}

/** The events, oldest first, each once though it may come by two ways. */
export class Events {
  constructor() {
    this.list = [];
    this.seen = new Set();
  }

  add(events) {
    const fresh = events.filter((event) => {
      const key = JSON.stringify(event);
      return !this.seen.has(key) && this.seen.add(key);
    });
    if (!fresh.length) return false;
    this.list.push(...fresh);
    this.list.sort((one, other) => one.time - other.time);
    if (this.list.length > MOST_EVENTS) {
      for (const event of this.list.splice(0, this.list.length - MOST_EVENTS)) {
        this.seen.delete(JSON.stringify(event));
      }
    }
    return true;
  }
}

/** What an event is to the timeline: a load, an eviction, a failure, or something else. */
export function sort(event) {
  if (/fail|error|killed|unhealthy/i.test(event.kind)) return "failure";
  if (/unload|evict/i.test(event.kind)) return "eviction";
  return /model loaded/i.test(event.kind) ? "load" : "other";
}
