/* Lists of conversations: they stay fresh while somebody looks at them, and have keys. Without it they are links. */

import { anchorAmong, merged, sameOrder } from "./merge.js";
import { stepped } from "./order.js";

// A pointer that has rested for longer (ms) does not hold the list.
const POINTS = 5000;

const lists = [...document.querySelectorAll(".conversation-list")];
const rowsOf = (list) => list.querySelector(".conversation-rows");
const described = (rows) => [...rows.children].map((row) => [row.dataset.id ?? "", row.outerHTML]);

/* What the list scrolls in. */
function scroller(list) {
  const pane = list.closest(".recent");
  return pane && pane.scrollHeight > pane.clientHeight ? pane : document.scrollingElement;
}

/* The ids of the rows that may be what somebody is reading, the likeliest first. */
function beingRead(list, pointed) {
  const focused = document.activeElement?.closest("li[data-id]");
  const scrolled = scroller(list);
  const top = Math.max(0, scrolled === document.scrollingElement ? 0 : scrolled.getBoundingClientRect().top);
  const visible = scrolled.scrollTop > 0 ? [...rowsOf(list).children] : [];
  const below = visible.filter((row) => row.getBoundingClientRect().top >= top);
  return [focused, pointed, ...below].filter((row) => row && list.contains(row)).map((row) => row.dataset.id);
}

const rowOf = (list, id) => rowsOf(list).querySelector(`li[data-id="${CSS.escape(id)}"]`);
const topOf = (list, id) => rowOf(list, id).getBoundingClientRect().top;

function update(list, markup, pointed) {
  const template = document.createElement("template");
  template.innerHTML = markup;
  const rows = rowsOf(list);
  const fresh = template.content.querySelector(".conversation-rows");
  const [old, now] = [described(rows), described(fresh)];
  const anchor = anchorAmong(beingRead(list, pointed), now);
  const before = anchor && topOf(list, anchor);
  const focused = document.activeElement?.closest("li[data-id]")?.dataset.id;
  const plan = merged(old, now);
  const next = [...fresh.children].map((row, n) => (plan[n].stays && plan[n].id && rowOf(list, plan[n].id)) || row);
  if (sameOrder(old, now)) {
    // Rows that have not changed are not even moved.
    for (const [n, row] of [...rows.children].entries()) if (row !== next[n]) row.replaceWith(next[n]);
  } else {
    rows.replaceChildren(...next);
  }
  if (focused && list.contains(rowOf(list, focused))) {
    rowOf(list, focused).querySelector("a").focus({ preventScroll: true });
  }
  if (anchor) scroller(list).scrollTop += topOf(list, anchor) - before;
  for (const count of template.content.querySelectorAll("template[data-count]")) {
    const shown = document.getElementById(count.dataset.count);
    if (!shown) continue;
    shown.textContent = count.innerHTML;
    shown.classList.toggle("none", count.innerHTML === "0");
  }
}

function keepFresh(list) {
  let seen = "";
  let pointed = null;
  let pointedAt = -POINTS;

  list.addEventListener("pointermove", (event) => {
    pointed = event.target.closest("li[data-id]");
    pointedAt = event.timeStamp;
  });
  list.addEventListener("pointerleave", () => (pointed = null));

  list.addEventListener("htmx:configRequest", (event) => {
    // With it, even empty, the request is no use of the session.
    event.detail.parameters.seen = seen;
  });
  list.addEventListener("htmx:beforeRequest", (event) => {
    // A tab that nobody sees asks for nothing, nor does a list of which somebody marks a piece of text.
    const marked = document.getSelection();
    const isMarking = marked && !marked.isCollapsed && list.contains(marked.anchorNode);
    if (document.hidden || isMarking) event.preventDefault();
  });
  list.addEventListener("htmx:beforeSwap", (event) => {
    event.detail.shouldSwap = false;
    const version = event.detail.xhr.getResponseHeader("X-Rows");
    // Anything else, such as the sign-in, is no list.
    if (!version) return;
    seen = version;
    update(list, event.detail.xhr.responseText, event.timeStamp - pointedAt < POINTS ? pointed : null);
  });
  list.addEventListener("htmx:afterRequest", (event) => {
    // The page's own requests are something else.
    event.stopPropagation();
    list.querySelector(".not-fresh").hidden = event.detail.successful;
  });

  const refresh = () => document.hidden || list.dispatchEvent(new Event("refresh"));
  document.addEventListener("visibilitychange", refresh);
  // Back from a conversation, whose messages are no longer unread.
  window.addEventListener("pageshow", (event) => event.persisted && refresh());
}

for (const list of lists) {
  if (list.hasAttribute("hx-get")) keepFresh(list);
  // The left pane of a conversation: the list begins where the open one is seen.
  list.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
}

/* Keys, where the list is what the page is about. */

const isTyping = (target) => target.closest("input, textarea, select, [contenteditable]") !== null;

function move(list, step) {
  const links = [...rowsOf(list).querySelectorAll(".conversation-row")];
  if (!links.length) return;
  const here = links.indexOf(document.activeElement);
  const to = here < 0 ? links[0] : stepped(links, links[here], step);
  to.focus({ preventScroll: true });
  to.scrollIntoView({ block: "nearest" });
}

const main = document.querySelector(".conversation-list.wide");

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (!main || isTyping(event.target) || document.querySelector("dialog[open]")) return;
  const key = event.key.toLowerCase();
  const field = document.getElementById("id_q");
  if (key === "j" || key === "k") move(main, key === "j" ? 1 : -1);
  else if (key === "/" && field) field.select();
  else return;
  event.preventDefault();
});
