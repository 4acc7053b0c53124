/* A recall's page: the countdown, and swaps that leave open what the reader has opened. And the count under a paste. */

import { wireCountdowns } from "./countdown.js";
import { fill } from "./text.js";
import { callsFor, timestampsIn } from "./timestamps.js";

wireCountdowns(document);

let opened = [];

document.addEventListener("htmx:beforeSwap", (event) => {
  opened = [...event.detail.target.querySelectorAll("details[open][id]")].map((details) => details.id);
});

document.addEventListener("htmx:afterSwap", () => {
  const status = document.getElementById("recall-status");
  if (!status) return;
  for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
  wireCountdowns(status);
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
