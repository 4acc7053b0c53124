/* The reason by its number, and as it was the last time in this tab. Of a note nothing is kept: it may name people. */

import { form } from "./selection.js";

const button = document.getElementById("as-last-time");
const reason = form?.elements.reason;

function last() {
  try {
    return sessionStorage.getItem(button.dataset.key);
  } catch {
    return null;
  }
}

export function chooseReason(number) {
  // The first one is the request to choose.
  if (number < reason.options.length) reason.selectedIndex = number;
}

export function asLastTime() {
  const code = last();
  // It may have been taken out of use since.
  if ([...reason.options].some(({ value }) => value === code)) reason.value = code;
}

export function start() {
  button.hidden = !last();
  button.addEventListener("click", asLastTime);
  form.addEventListener("submit", () => {
    try {
      sessionStorage.setItem(button.dataset.key, reason.value);
    } catch {
      // Without storage nothing is remembered.
    }
    button.hidden = !last();
  });
}
