/* The newest messages: a way back to them, how many are new in the tab's title, and a line above those that came. */

import { focusRow, messages, rows } from "./rows.js";

const button = () => document.getElementById("to-newest");
const title = document.title;
const watcher = new IntersectionObserver((seen) => {
  if (button()) button().hidden = seen.at(-1).isIntersecting;
});

/* Called again whenever rows have come. */
export function watch() {
  watcher.disconnect();
  const last = rows().at(-1);
  if (last) watcher.observe(last);
}

/* Draws the line above `row`, the first of those that came. */
export function markUnread(row) {
  messages.querySelector(".unread-line")?.remove();
  row.before(document.getElementById("unread-line").content.cloneNode(true));
}

export function start() {
  messages.addEventListener("click", (event) => {
    const last = rows().at(-1);
    if (!event.target.closest("#to-newest") || !last) return;
    focusRow(last);
    last.scrollIntoView({ block: "end" });
  });
  messages.addEventListener("htmx:afterSwap", () => {
    const count = document.querySelector("#news [data-count]")?.dataset.count;
    document.title = count ? `(${count}) ${title}` : title;
  });
}
