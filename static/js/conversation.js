/* A conversation's page: ticking and turning pages. What it adds to, works without it. */

import { arrange } from "./arrange.js";
import { filter } from "./filter.js";
import { start as startKeyboard } from "./keyboard.js";
import { start as startMedia } from "./media.js";
import { markUnread, start as startNewest, watch } from "./newest.js";
import { range } from "./order.js";
import { start as startReasons } from "./reasons.js";
import { start as startReviewSheet } from "./review-sheet.js";
import { boxOf, completeAll, current, focusRow, makeCurrent, messages, rows, settle } from "./rows.js";
import { start as startSelectMore } from "./select-more.js";
import { choose, form, picked, start as startSelection, update, whenChanged } from "./selection.js";
import { hide as hideSender, start as startSenderPanel } from "./sender-panel.js";
import { show, start as startSummary } from "./summary.js";
import { start as startToast } from "./toast.js";

let anchor = null;

/* Select or unselect a row; with `extend`, every row from the last one chosen to it. */
function select(row, on, extend) {
  choose(extend && anchor?.isConnected ? range(rows(), anchor, row) : [row], on);
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

/* A row that becomes the current one may grow. Under a finger that waits for the click, which would miss otherwise: of a
   tap the focus comes after the finger has left, and before the click. */
const CLICK_FOLLOWS_WITHIN = 400;
let isPressed = false;
const release = () => (isPressed = false);

const visit = (event) => {
  const row = event.target.closest(".message");
  if (!row || isPressed) return;
  makeCurrent(row);
  row.scrollIntoView({ block: "nearest" });
};

messages.addEventListener("pointerdown", () => (isPressed = true));
document.addEventListener("pointerup", () => setTimeout(release, CLICK_FOLLOWS_WITHIN));
for (const end of ["pointercancel", "click"]) document.addEventListener(end, release, { capture: true });
messages.addEventListener("focusin", visit);
messages.addEventListener("click", visit);

/* Pages. */

function came() {
  completeAll();
  arrange();
  // Enter in a field of the form means its own button, not the first one in the document.
  for (const button of messages.querySelectorAll("button[formaction]")) button.type = "button";
  settle();
  watch();
  filter();
  if (form) update();
}

let before = new Set();

messages.addEventListener("htmx:configRequest", (event) => {
  // News counts only in the loaded span: from the first row, and to the last one where newer pages are not loaded.
  const all = [...messages.querySelectorAll(".message")];
  event.detail.parameters.mark = document.getElementById("mark").value;
  if (all.length) event.detail.parameters.from = all[0].dataset.place;
  if (all.length && !document.getElementById("news")) event.detail.parameters.to = all.at(-1).dataset.place;
});

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
  before = new Set(rows());
});

document.addEventListener("htmx:afterRequest", (event) => {
  document.getElementById("failed").hidden = event.detail.successful;
  if (!event.detail.successful || event.detail.pathInfo.requestPath.includes("/news/")) return;
  came();
  const all = rows();
  const fresh = all.filter((row) => !before.has(row));
  if (!before.size || !fresh.length) return;
  const first = all.findIndex((row) => before.has(row));
  // Focus the first new row; of older rows the last one, if the button that had the focus is gone.
  if (all.indexOf(fresh.at(-1)) > first) {
    const row = fresh.find((each) => all.indexOf(each) > first);
    if (event.detail.pathInfo.requestPath.includes("arrived")) markUnread(row);
    focusRow(row);
  } else if (document.activeElement === document.body) focusRow(fresh.at(-1));
});

const more = document.getElementById("more-tools");
more.addEventListener("click", () => {
  const isOpen = more.getAttribute("aria-expanded") === "true";
  more.setAttribute("aria-expanded", String(!isOpen));
  if (!isOpen) document.getElementById("filter").focus();
});

for (const id of ["filter", "filter-loosely"]) document.getElementById(id).addEventListener("input", filter);

if (form) {
  startSelection();
  startSummary();
  startSelectMore();
  startReasons();
  startReviewSheet();
  let chosen = picked.size;
  whenChanged(() => {
    show();
    if (picked.size !== chosen) hideSender();
    chosen = picked.size;
  });
}
// Ticked before this script had come: a range may begin there all the same.
anchor = rows().findLast((row) => boxOf(row)?.checked) ?? null;
startKeyboard(select);
startMedia(messages);
startSenderPanel(messages);
startNewest();
came();
const at = messages.querySelector(".message.at");
if (at) {
  at.scrollIntoView({ block: "center" });
  makeCurrent(at);
} else {
  // Where a pane does not scroll by itself the newest is at the end of the document.
  current()?.scrollIntoView({ block: "nearest" });
}
startToast(messages);
