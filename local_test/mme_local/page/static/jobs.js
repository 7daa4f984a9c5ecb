// Training jobs, the running ones first, with the last value of each metric.

import { el, empty, keyed, set, text } from "./dom.js";
import { metric, seconds } from "./format.js";

const body = document.getElementById("jobs-body");
const running = (job) => job.status === "InProgress" || job.status === "Stopping";

/** Show the training jobs. */
export function showJobs(jobs) {
  if (!jobs.length) {
    const words = "No training job yet. An Estimator's fit(), unchanged, starts one:";
    empty(body, words, "mme local exec -- python train.py");
    return;
  }
  const order = [...jobs].sort((one, other) => running(other) - running(one));
  keyed(body, order, (job) => job.name, make, fill);
}

function make(job) {
  return el(
    "article",
    { class: "job" },
    el("h3", { title: job.name }, job.name),
    el("span", { class: "time" }),
    el("p", {}, el("span", { class: "status" }), el("span", { class: "secondary" })),
    el("dl", {}),
  );
}

function fill(element, job) {
  text(set(element.querySelector(".status"), { "data-status": job.status }), job.status);
  text(element.querySelector(".time"), seconds(job.seconds));
  const more = job.failure_reason ?? (job.secondary === job.status ? "" : job.secondary);
  text(element.querySelector(".secondary"), more);
  keyed(
    element.querySelector("dl"),
    Object.entries(job.metrics),
    ([name]) => name,
    ([name]) => el("div", {}, el("dt", {}, name), el("dd")),
    (pair, [, value]) => text(pair.lastChild, metric(value)),
  );
}
