/* The notice after a recall: its button has the focus, Z cancels, and it stays while the page is read on. */

import { wireCountdowns } from "./countdown.js";

const toast = () => document.getElementById("toast");

export function start(messages) {
  if (!toast()) return;
  messages
    .querySelector(`[data-timestamp="${CSS.escape(toast().dataset.first)}"]`)
    ?.scrollIntoView({ block: "center" });
  document.getElementById("toast-cancel")?.focus({ preventScroll: true });
  wireCountdowns(toast());
  let hadFocus = false;
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target === toast()) hadFocus = toast().contains(document.activeElement);
  });
  document.addEventListener("htmx:afterSwap", () => {
    if (!toast()) return;
    wireCountdowns(toast());
    // The button may be gone: whoever had it goes on from here.
    if (hadFocus)
      (document.getElementById("toast-cancel") ?? toast().querySelector("a")).focus({ preventScroll: true });
    hadFocus = false;
  });
  document.addEventListener("click", (event) => {
    if (!event.target.closest("#toast .close")) return;
    event.preventDefault();
    toast().remove();
    history.replaceState(null, "", location.pathname);
  });
}

export const cancel = () => document.getElementById("toast-cancel")?.click();
