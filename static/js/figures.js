/* Figures of a selection: entries are pairs of a timestamp (text) and what is known of its messages. */

import { callsFor } from "./timestamps.js";

export const sorted = (entries) => [...entries].sort(([one], [other]) => Number(one) - Number(other));

/* `shared` counts messages that have their timestamp in common with another one. */
export function totals(entries) {
  const counts = entries.map(([, entry]) => entry.count);
  return {
    messages: counts.reduce((sum, n) => sum + n, 0),
    calls: callsFor(entries.length),
    shared: counts.filter((n) => n > 1).reduce((sum, n) => sum + n, 0),
  };
}

/* Who wrote the selected messages and how many, the most first. A sender without any name has an empty one. */
export function senders(entries) {
  const bySender = new Map();
  for (const [, { sender, name, count }] of entries) {
    const id = sender || "";
    const sum = bySender.get(id) ?? { id, name: name || id, n: 0 };
    sum.n += count;
    bySender.set(id, sum);
  }
  return [...bySender.values()].sort((one, other) => other.n - one.n);
}
