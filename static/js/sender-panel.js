/* A click on a name shows beside the messages who that is. Without script, or for another tab, the link leads there. */

import { leadsToSignIn } from "./notice.js";

const panel = document.getElementById("sender-panel");
let opener = null;
// Whether the address names its pane because of this script.
let isElsewhere = false;
// A later click has its own answer.
let turns = 0;

const isPlain = (event) => !(event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);

async function open(link) {
  const turn = ++turns;
  let response;
  try {
    response = await fetch(link.href, { headers: { "HX-Request": "true" }, redirect: "manual" });
    if (leadsToSignIn(response)) return;
    if (!response.ok) throw new Error(response.statusText);
  } catch {
    location.assign(link.href);
    return;
  }
  const text = await response.text();
  if (turn !== turns) return;
  opener = link;
  panel.innerHTML = text;
  panel.hidden = false;
  // On a narrow screen it is in another pane.
  isElsewhere = !panel.offsetParent;
  if (isElsewhere) location.hash = "selection";
  panel.focus({ preventScroll: true });
  panel.scrollIntoView({ block: "nearest" });
}

/* The form and the recalls stand in its place again. */
export function hide() {
  panel.hidden = true;
  panel.replaceChildren();
}

function close() {
  hide();
  if (isElsewhere) history.back();
  isElsewhere = false;
  if (opener?.isConnected) opener.focus({ preventScroll: true });
}

export function start(messages) {
  messages.addEventListener("click", (event) => {
    const link = event.target.closest(".who a");
    if (!link || !isPlain(event)) return;
    event.preventDefault();
    open(link);
  });
  panel.addEventListener("click", (event) => {
    if (event.target.closest("[data-close-panel]")) close();
  });
  // The browser could not show what the form lacks.
  document.getElementById("review")?.addEventListener("click", hide);
  document.addEventListener(
    "keydown",
    (event) => {
      if (event.key !== "Escape" || panel.hidden || document.querySelector("dialog[open]")) return;
      event.preventDefault();
      close();
    },
    { capture: true },
  );
}
