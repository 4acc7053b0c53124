/* The timeline's rows: one of them is the current one, and only it is in the order of the Tab key. */

import { stepped } from "./order.js";

export const messages = document.getElementById("messages");
let latest = null;

export const rows = () => [...messages.querySelectorAll(".message:not([hidden])")];

export const boxOf = (row) => row.querySelector(".tick input");

export const current = () =>
  latest?.isConnected && !latest.hidden ? latest : (messages.querySelector(".message.at") ?? rows().at(-1) ?? null);

function reachable(row, yes) {
  row.tabIndex = yes ? 0 : -1;
  for (const part of row.querySelectorAll("a, button, input, summary, [data-tab]")) part.tabIndex = yes ? 0 : -1;
}

/* Called again whenever rows have come: those that came are not the current one. */
export function settle() {
  for (const row of messages.querySelectorAll(".message")) reachable(row, false);
  const row = current();
  if (row) reachable(row, true);
}

export function makeCurrent(row) {
  if (row === latest) return;
  if (current()) reachable(current(), false);
  latest = row;
  reachable(row, true);
}

export function focusRow(row) {
  makeCurrent(row);
  row.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

/* The row `step` rows on, or the one at the end; the current one itself when no row has been visited yet. */
export function neighbour(step) {
  const here = current();
  return here && latest ? stepped(rows(), here, step) : here;
}
