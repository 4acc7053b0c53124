/* A recall's page: the countdown, and swaps that leave open what the reader has opened. And the count under a paste. */

import { fill } from "./text.js";
import { callsFor, timestampsIn } from "./timestamps.js";

function countDown(element) {
  const ends = performance.now() + 1000 * Number(element.dataset.countdown);
  const step = () => {
    const left = Math.max(0, Math.ceil((ends - performance.now()) / 1000));
    element.textContent = String(left);
    if (left > 0 && element.isConnected) setTimeout(step, 200);
    if (left === 0) {
      // What follows says that it waits for a worker.
      element.parentElement.hidden = true;
      element.parentElement.nextElementSibling.hidden = false;
    }
  };
  step();
}

const wire = (root) => root.querySelectorAll("[data-countdown]").forEach(countDown);
wire(document);

let opened = [];

document.addEventListener("htmx:beforeSwap", (event) => {
  opened = [...event.detail.target.querySelectorAll("details[open][id]")].map((details) => details.id);
});

document.addEventListener("htmx:afterSwap", () => {
  const status = document.getElementById("recall-status");
  if (!status) return;
  for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
  wire(status);
});

const connection = document.querySelector("[data-connection]");
if (connection) {
  const show = (lost) => () => (connection.hidden = !lost);
  document.addEventListener("htmx:sendError", show(true));
  document.addEventListener("htmx:responseError", show(true));
  document.addEventListener("htmx:afterOnLoad", show(false));
}

/* How many timestamps a paste holds: a help while typing; what counts is what the server reads. */

for (const output of document.querySelectorAll("[data-count-of]")) {
  const field = document.getElementById(output.dataset.countOf);
  const count = () => {
    const timestamps = timestampsIn(field.value).size;
    output.hidden = timestamps === 0;
    output.textContent = fill(output.dataset.text, { timestamps, calls: callsFor(timestamps) });
  };
  field.addEventListener("input", count);
  count();
}
