// Asks for the state each second, and has every part of the page show its share of it.

import { showCharts } from "./charts.js";
import { el, keyed, set, text } from "./dom.js";
import { onChoose, showEndpoints } from "./endpoints.js";
import { clock } from "./format.js";
import { Events, History, variantKey } from "./history.js";
import { showJobs } from "./jobs.js";
import { chooseLog, showSources, tail } from "./logs.js";
import { showMap } from "./map.js";
import { showTimeline } from "./timeline.js";

const POLL_MS = 1000;
const PATIENCE_MS = 5000;

const find = (id) => document.getElementById(id);
const history = new History();
const events = new Events();
let state = null;
let chosen = null;
let answered = null;
let stream = null;
let asking = false;

const seconds = () => Date.now() / 1000;

function listen() {
  if (stream && stream.readyState !== EventSource.CLOSED) return;
  stream = new EventSource("/_mme/events");
  stream.addEventListener("message", (message) => {
    if (events.add([JSON.parse(message.data)]) && state) showEvents();
  });
}

async function poll() {
  setTimeout(poll, POLL_MS);
  if (asking) return;
  asking = true;
  const fresh = await ask();
  asking = false;
  link(fresh !== null);
  if (fresh === null) return;
  state = fresh;
  answered = seconds();
  history.add(state, answered);
  events.add(state.events);
  listen();
  show();
  tail();
}

/** The state, or null where there is no answer. */
async function ask() {
  try {
    const answer = await fetch("/_mme/state", { signal: AbortSignal.timeout(PATIENCE_MS) });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

// What is shown stays where it is lost: a blank page would tell less.
function link(there) {
  document.title = there ? "Local SageMaker" : "(lost) Local SageMaker";
  text(set(find("link"), { "data-state": there ? "live" : "lost" }), there ? "Live" : "Lost");
  const lost = find("lost");
  lost.hidden = there;
  if (there) return;
  const since = answered === null ? "" : ` since ${clock(answered)}; what is shown is from then`;
  const words = `No answer from the local SageMaker${since}. If it was stopped, start it again: `;
  if (lost.dataset.words === words) return;
  lost.dataset.words = words;
  lost.replaceChildren(words, el("code", {}, "mme local up"), " This page goes on by itself.");
}

function current() {
  const all = state.endpoints.flatMap((endpoint) =>
    (endpoint.variants.length ? endpoint.variants : [null]).map((variant) => ({
      endpoint,
      variant,
    })),
  );
  const named = all.find(({ endpoint, variant }) => variantKey(endpoint, variant) === chosen);
  return named ?? all.find(({ variant }) => variant?.instances.length) ?? all[0] ?? {};
}

function show() {
  const { endpoint, variant } = current();
  const key = endpoint ? variantKey(endpoint, variant) : null;
  facts();
  showEndpoints(state.endpoints, key);
  find("map").hidden = find("charts").hidden = !variant;
  document.body.classList.toggle("is-empty", !variant);
  if (variant) {
    text(find("map-title"), `Loaded models · ${endpoint.name} / ${variant.name}`);
    showMap(endpoint, key, variant, answered);
    showCharts(variant, history.of(key), answered);
  }
  showEvents();
  showJobs(state.training_jobs);
  showSources(state);
}

function showEvents() {
  const { endpoint, variant } = current();
  showTimeline(events.list, endpoint?.name, variant?.name, Math.max(answered, seconds()));
}

function facts() {
  const pairs = [
    ["SageMaker", location.origin],
    ["AWS", state.aws_endpoint],
    ["Version", state.version],
  ];
  keyed(
    find("facts"),
    pairs,
    ([name]) => name,
    ([name]) => el("span", {}, `${name} `, el("b")),
    (element, [, value]) => text(element.lastChild, String(value)),
  );
}

onChoose((key) => {
  chosen = key;
  if (!state) return;
  show();
  const { endpoint, variant } = current();
  if (variant) chooseLog(endpoint.name, variant.name);
});
poll();
