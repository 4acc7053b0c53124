/* The letters that are printed on the buttons. None does anything while somebody types. */

import { filtered } from "./filter.js";
import { asLastTime, chooseReason } from "./reasons.js";
import { boxOf, current, focusRow, messages, neighbour } from "./rows.js";
import { fromSender } from "./select-more.js";
import { choose, clear, form } from "./selection.js";
import { cancel } from "./toast.js";

const isTyping = (target) => target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]") !== null;

const click = (selector) => document.querySelector(selector)?.click();

function move(step, extend) {
  const from = current();
  const to = neighbour(step);
  if (!to) return;
  if (extend && form) choose([from, to], true);
  focusRow(to);
}

function toggle(extend, select) {
  const row = current();
  if (!row || !form) return;
  const box = boxOf(row);
  select(row, extend ? true : !box.checked, extend);
  focusRow(row);
}

export function review() {
  // On a narrow screen the form is another pane.
  if (!form.offsetParent) location.hash = "selection";
  document.getElementById("review").click();
}

export function start(select) {
  const keys = {
    j: (event) => move(1, event.shiftKey),
    k: (event) => move(-1, event.shiftKey),
    arrowdown: (event) => move(1, event.shiftKey),
    arrowup: (event) => move(-1, event.shiftKey),
    x: (event) => toggle(event.shiftKey, select),
    o: () => click("#older button, #older a.button"),
    n: () => click("#news button"),
    "/": () => document.getElementById("filter").focus(),
  };
  if (form) {
    keys.a = () => current()?.dataset.sender && fromSender(current().dataset.sender);
    keys.s = () => click("#select-shown:not([hidden])");
    keys.u = clear;
    keys.z = cancel;
    keys.r = review;
    keys.l = asLastTime;
    for (const number of "123456789") keys[number] = () => chooseReason(Number(number));
  }
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    const key = event.key.toLowerCase();
    if (key === "escape") return back(event.target);
    if (key === "enter" && event.target.id === "filter")
      return void filtered().then(() => current() && focusRow(current()));
    if (isTyping(event.target)) return;
    const onRow = event.target.matches(".message, body");
    let act = keys[key];
    // These have a meaning of their own on buttons, links and in other panes.
    if (key === " ") act = onRow ? keys.x : null;
    else if (key === "enter") act = onRow && form ? review : null;
    else if (key.startsWith("arrow") && !onRow && !messages.contains(event.target)) act = null;
    if (!act) return;
    event.preventDefault();
    act(event);
  });
}

function back(target) {
  if (target.id === "filter" && target.value) {
    target.value = "";
    target.dispatchEvent(new Event("input"));
  } else if (current()) {
    focusRow(current());
  }
}
