/* On every page: dialogs, keys and menus here, forms and printing in their own files. Everything in them has a plain
   way without it. */

import { show as showNotice } from "./notice.js";
import "./forms.js";
import "./palette.js";
import "./print.js";

const isTyping = (target) => target.closest("input, textarea, select, [contenteditable]") !== null;

function open(id) {
  const dialog = document.getElementById(id);
  if (!dialog || document.querySelector("dialog[open]")) return;
  dialog.showModal();
  dialog.querySelector("[autofocus]")?.select?.();
  dialog.dispatchEvent(new Event("opened"));
}

for (const opener of document.querySelectorAll("[data-opens]")) {
  opener.hidden = false;
  opener.addEventListener("click", (event) => {
    if (!document.getElementById(opener.dataset.opens)) return;
    event.preventDefault();
    open(opener.dataset.opens);
  });
}

for (const dialog of document.querySelectorAll("dialog")) {
  // A click beside the dialog lands on the element itself, inside only on its padding.
  dialog.addEventListener("click", (event) => {
    const box = dialog.getBoundingClientRect();
    const inside =
      event.clientX >= box.left &&
      event.clientX <= box.right &&
      event.clientY >= box.top &&
      event.clientY <= box.bottom;
    if (event.target === dialog && !inside && event.detail > 0) dialog.close();
  });
}

/* Keys: Ctrl-K or ⌘K from anywhere; letters only outside fields and dialogs. */

let leader = 0;

document.addEventListener(
  "keydown",
  (event) => {
    if (event.defaultPrevented || event.isComposing) return;
    if ((event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey && event.key.toLowerCase() === "k") {
      event.preventDefault();
      open("jump-dialog");
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "?") {
      event.preventDefault();
      open("help-dialog");
    } else if (event.key === "g") {
      leader = event.timeStamp;
    } else if (leader && event.timeStamp - leader < 1500) {
      leader = 0;
      const link = document.querySelector(`[data-go="${CSS.escape(event.key)}"]`);
      if (link) {
        // A page's own letters do not see the second of the two.
        event.preventDefault();
        event.stopPropagation();
        link.click();
      }
    }
  },
  { capture: true },
);

/* Ctrl-Enter does what the page, or the dialog in front of it, is there for. A key that is held down does it once. */

document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.isComposing || event.repeat) return;
  const button = (document.querySelector("dialog[open]") ?? document).querySelector("[data-ctrl-enter]");
  if (!button) return;
  event.preventDefault();
  button.click();
});

/* Menus close like menus do. */

document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("[data-menu][open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = document.querySelector("[data-menu][open]");
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

/* The browser's time zone: stored at the first sign-in, and offered when it is another one than the person's. */

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
for (const field of document.querySelectorAll("[name=browser_zone]")) field.value = zone ?? "";
for (const hint of document.querySelectorAll("[data-zone-hint]")) {
  if (!zone || (zone === "UTC" && !hint.dataset.current) || zone === hint.dataset.current) continue;
  hint.href += `?timezone=${encodeURIComponent(zone)}`;
  hint.textContent = hint.dataset.text.replace("{zone}", zone);
  hint.hidden = false;
}

/* When the session has ended, a polling page says so and stays as it is. */

document.addEventListener("htmx:beforeSwap", (event) => {
  const address = event.detail.xhr.responseURL;
  if (address && new URL(address).pathname === document.body.dataset.signIn) {
    event.detail.shouldSwap = false;
    showNotice("signed-out");
  }
});
