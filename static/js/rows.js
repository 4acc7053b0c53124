/* The timeline's rows: one of them is the current one, and only it is in the order of the Tab key. */

import { stepped } from "./order.js";

export const messages = document.getElementById("messages");
let latest = null;

export const rows = () => [...messages.querySelectorAll(".message:not([hidden])")];

export const boxOf = (row) => row.querySelector(".tick input");

export const current = () =>
  latest?.isConnected && !latest.hidden ? latest : (messages.querySelector(".message.at") ?? rows().at(-1) ?? null);

/* What the server leaves out of each row because the rest of the row says it. */
function complete(row) {
  const { dataset } = row;
  dataset.place ??= dataset.timestamp;
  dataset.day ??= row.querySelector("time.when")?.title.slice(0, 10);
  dataset.writer ??= row.querySelector(".name").textContent;
  dataset.count ??= 1;
}

/* The timestamp and the button for all of the sender's messages: one for all rows, which goes where it is looked for. */
const exact = document.getElementById("exact").content.firstElementChild;

function showExact(row) {
  if (exact.parentElement === row) return;
  exact.querySelector(".stamp").textContent = row.dataset.arrived === undefined ? row.dataset.timestamp : "";
  const all = exact.querySelector("[data-all]");
  if (all) all.hidden = !row.dataset.sender;
  row.append(exact);
}

messages.addEventListener("pointerover", (event) => {
  const row = event.target.closest(".message");
  if (row && event.pointerType === "mouse") showExact(row);
  const time = event.target.closest("time.when");
  if (time && !time.title.includes("\n")) {
    time.title += `\nUTC ${new Date(Number(row.dataset.timestamp)).toISOString().slice(0, -1).replace("T", " ")}`;
  }
});
messages.addEventListener("pointerleave", () => current() && showExact(current()));

function reachable(row, yes) {
  row.tabIndex = yes ? 0 : -1;
  if (yes) showExact(row);
  for (const part of row.querySelectorAll("a, button, input, summary, [data-tab]")) part.tabIndex = yes ? 0 : -1;
}

/* Called first whenever rows have come. */
export function completeAll() {
  for (const row of messages.querySelectorAll(".message:not([data-writer])")) complete(row);
}

/* Called again whenever rows have come: those that came, without a tabindex yet, are not the current one. */
export function settle() {
  for (const row of messages.querySelectorAll(".message:not([tabindex])")) reachable(row, false);
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

completeAll();
