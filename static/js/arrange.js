/* Puts new rows in their place by time, each row once, under the heading of its day. */

import { group } from "./groups.js";
import { inOrder } from "./order.js";
import { messages, rows as shownRows } from "./rows.js";

export function arrange() {
  const days = new Map();
  for (const heading of messages.querySelectorAll(".day")) {
    if (!days.has(heading.dataset.day)) days.set(heading.dataset.day, heading);
    heading.remove();
  }
  // The line above what came stays above the same row.
  const line = messages.querySelector(".unread-line");
  const unread = line?.nextElementSibling;
  line?.remove();
  const ids = new Set();
  for (const row of messages.querySelectorAll(".message")) {
    if (ids.has(row.dataset.id)) row.remove();
    ids.add(row.dataset.id);
  }
  const rows = [...messages.querySelectorAll(".message")];
  if (rows.length) messages.querySelector(".edge.empty")?.remove();
  let last = rows[0]?.previousElementSibling ?? null;
  let day = "";
  for (const row of [...rows].sort(inOrder)) {
    // Move only rows that are out of place: moving one stops what it plays.
    if ((last ? last.nextElementSibling : messages.firstElementChild) !== row) {
      if (last) last.after(row);
      else messages.prepend(row);
    }
    if (row.dataset.day !== day && days.has(row.dataset.day)) row.before(days.get(row.dataset.day));
    day = row.dataset.day;
    last = row;
  }
  if (unread?.isConnected) unread.before(line);
  group(shownRows());
}
