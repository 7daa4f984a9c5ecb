// The tail of a log: of all instances of a variant, of one of them, or of a training job.

import { el, keyed, text } from "./dom.js";
import { clock } from "./format.js";

const MOST_LINES = 1000;
const source = document.getElementById("log-source");
const follow = document.getElementById("log-follow");
const view = document.getElementById("log");
let after = null;
let current = "";
let asking = false;

source.addEventListener("change", restart);
follow.addEventListener("change", () => follow.checked && bottom());
// Who scrolls up wants to read; who comes back to the end wants what is new.
view.addEventListener("scroll", () => {
  const end = view.scrollHeight - view.scrollTop - view.clientHeight < 24;
  if (document.activeElement !== follow) follow.checked = end;
});

/** Offer the logs of what there is; a stream is named by how its name begins. */
export function showSources(state) {
  const endpoints = state.endpoints.flatMap((endpoint) => {
    const group = `/aws/sagemaker/Endpoints/${endpoint.name}`;
    return endpoint.variants.flatMap((variant) => [
      { label: `${endpoint.name} / ${variant.name}`, group, stream: `${variant.name}/` },
      ...variant.instances.map((each) => ({
        label: `${endpoint.name} / ${variant.name} / ${each.id}`,
        group,
        stream: `${variant.name}/${each.id}`,
      })),
    ]);
  });
  const group = "/aws/sagemaker/TrainingJobs";
  const jobs = state.training_jobs.map((job) => ({
    label: job.name,
    group,
    stream: `${job.name}/`,
  }));
  const groups = [
    ["Endpoints", endpoints],
    ["Training jobs", jobs],
  ].filter(([, items]) => items.length);
  keyed(
    source,
    groups,
    ([name]) => name,
    ([name]) => el("optgroup", { label: name }),
    (element, [, items]) => {
      keyed(element, items, address, (item) => el("option", { value: address(item) }, item.label));
    },
  );
  source.disabled = !groups.length;
  if (source.value !== current) restart();
}

/** Choose the log of a variant. */
export function chooseLog(endpoint, variant) {
  const wanted = `group=${encodeURIComponent(`/aws/sagemaker/Endpoints/${endpoint}`)}&stream=${encodeURIComponent(`${variant}/`)}`;
  if ([...source.options].some((option) => option.value === wanted)) source.value = wanted;
  if (source.value !== current) restart();
}

const address = ({ group, stream }) =>
  `group=${encodeURIComponent(group)}&stream=${encodeURIComponent(stream)}`;

function restart() {
  current = source.value;
  after = null;
  note(current ? "No line yet." : "Logs of endpoints and training jobs appear here.");
  tail();
}

function note(words) {
  view.replaceChildren(el("p", { class: "muted" }, words));
}

/** Ask for what is new in the log, and show it. */
export async function tail() {
  if (!current || asking) return;
  asking = true;
  const asked = current;
  try {
    const cursor = after === null ? "" : `&after=${encodeURIComponent(after)}`;
    const answer = await fetch(`/_mme/logs?${asked}${cursor}`, {
      signal: AbortSignal.timeout(5000),
    });
    if (!answer.ok) throw new Error(`The log could not be read (${answer.status}).`);
    const { events, next } = await answer.json();
    if (asked !== current) return;
    after = next;
    append(events);
  } catch (error) {
    if (asked === current && !view.querySelector(".line")) note(String(error.message ?? error));
  } finally {
    asking = false;
  }
  if (asked !== current) await tail();
}

function append(events) {
  if (!events.length) return;
  view.querySelector(":scope > p")?.remove();
  view.append(...events.map(line));
  while (view.childElementCount > MOST_LINES) view.firstChild.remove();
  if (follow.checked) bottom();
}

function line({ timestamp, message }) {
  const level = /\b(ERROR|CRITICAL|FATAL|Traceback)\b/i.test(message)
    ? " error"
    : /\bWARN(ING)?\b/i.test(message)
      ? " warning"
      : "";
  return el(
    "div",
    { class: `line${level}` },
    el("time", {}, clock(timestamp / 1000)),
    el("span", {}, message.trimEnd()),
  );
}

function bottom() {
  view.scrollTop = view.scrollHeight;
}
