/* A conversation's page: ticking and turning pages. What it adds to, works without it. */

import { start as startKeyboard } from "./keyboard.js";
import { start as startMedia } from "./media.js";
import { current, focusRow, makeCurrent, messages, rows, settle } from "./rows.js";
import { choose, form, start as startSelection, update, whenChanged } from "./selection.js";
import { filter, start as startSelectMore } from "./select-more.js";
import { show, start as startSummary } from "./summary.js";

let anchor = null;

/* Select or unselect a row; with `extend`, every row from the last one chosen to it. */
function select(row, on, extend) {
  const all = rows();
  const from = extend && anchor?.isConnected ? all.indexOf(anchor) : -1;
  const to = all.indexOf(row);
  choose(from < 0 ? [row] : all.slice(Math.min(from, to), Math.max(from, to) + 1), on);
  anchor = row;
}

messages.addEventListener("mousedown", (event) => {
  // A range of rows, not of letters.
  if (event.shiftKey && event.target.closest(".tick")) event.preventDefault();
});

messages.addEventListener("click", (event) => {
  const ticked = event.target.closest(".tick");
  const row = event.target.closest(".message");
  const box = ticked?.querySelector("input");
  if (!box || box.disabled) return;
  // Firefox ignores a click with Shift on a label: the label is ours.
  if (event.target !== box) event.preventDefault();
  select(row, event.target === box ? box.checked : !box.checked, event.shiftKey);
  if (event.detail) focusRow(row);
});

messages.addEventListener("focusin", (event) => {
  const row = event.target.closest(".message");
  if (row) makeCurrent(row);
});

/* Pages. */

function came() {
  // A page that begins on the day on which the next one begins as well.
  let last = "";
  for (const day of messages.querySelectorAll(".day")) {
    if (day.dataset.day === last) day.remove();
    else last = day.dataset.day;
  }
  // Enter in a field of the form means its own button, not the first one in the document.
  for (const button of messages.querySelectorAll("button[formaction]")) button.type = "button";
  settle();
  filter();
  if (form) update();
}

let edges = [];

const ends = () => {
  const all = [...messages.querySelectorAll(".message")];
  return [all[0], all.at(-1)];
};

messages.addEventListener("htmx:beforeRequest", (event) => {
  // A tab that nobody sees asks for no news.
  if (event.target.id === "news" && document.hidden) event.preventDefault();
});

messages.addEventListener("htmx:beforeSwap", (event) => {
  // A whole page in place of a part of one: the session has ended.
  if (event.detail.xhr.responseText.trimStart().toLowerCase().startsWith("<!doctype")) {
    event.detail.shouldSwap = false;
    document.getElementById("signed-out").hidden = false;
  }
  edges = ends();
});

document.addEventListener("htmx:afterRequest", (event) => {
  document.getElementById("failed").hidden = event.detail.successful;
  if (!event.detail.successful || event.detail.pathInfo.requestPath.includes("/news/")) return;
  came();
  const all = rows();
  const [first, last] = edges.map((row) => all.indexOf(row));
  if (last < 0) return;
  // To the first new one; and where the button that was pressed has gone, and the focus with it, to the last old one.
  if (all[last + 1]) focusRow(all[last + 1]);
  else if (first > 0 && document.activeElement === document.body) focusRow(all[first - 1]);
});

for (const id of ["filter", "filter-loosely"]) document.getElementById(id).addEventListener("input", filter);

if (form) {
  startSelection();
  startSummary();
  startSelectMore();
  whenChanged(show);
}
document.querySelector(".recent [aria-current]")?.scrollIntoView({ block: "nearest" });
startKeyboard(select);
startMedia(messages);
came();
const at = messages.querySelector(".message.at");
if (at) {
  at.scrollIntoView({ block: "center" });
  makeCurrent(at);
} else {
  // Where a pane does not scroll by itself the newest is at the end of the document.
  current()?.scrollIntoView({ block: "nearest" });
}
