/* The reason by its number, and reason and note as they were the last time, in this tab. */

import { form } from "./selection.js";

const button = document.getElementById("as-last-time");
const { reason, note } = form?.elements ?? {};

function last() {
  try {
    return JSON.parse(sessionStorage.getItem(button.dataset.key));
  } catch {
    return null;
  }
}

export function chooseReason(number) {
  // The first one is the request to choose.
  if (number < reason.options.length) reason.selectedIndex = number;
}

export function asLastTime() {
  const { reason: code = "", note: text = "" } = last() ?? {};
  if (code) reason.value = code;
  if (text) note.value = text;
}

export function start() {
  button.hidden = !last();
  button.addEventListener("click", asLastTime);
  form.addEventListener("submit", () => {
    try {
      sessionStorage.setItem(button.dataset.key, JSON.stringify({ reason: reason.value, note: note.value }));
    } catch {
      // Without storage nothing is remembered.
    }
    button.hidden = !last();
  });
}
