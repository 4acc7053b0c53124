/* One sender's messages within five minutes stand under one header. The server has the same rule for whole pages
   (`_continues` in moderation/desk/views/conversation.py); here it is for rows that came, or that a filter leaves. */

const UNDER_ONE_HEADER = 5 * 60 * 1000;

/* `before` and `row`: datasets of two rows, one after the other; `before` is missing for the first. */
export const continues = (before, row) =>
  before !== undefined &&
  before.sender === row.sender &&
  before.writer === row.writer &&
  before.day === row.day &&
  row.arrived === undefined &&
  row.place - before.place < UNDER_ONE_HEADER;

export function group(rows) {
  for (const [n, row] of rows.entries()) {
    row.classList.toggle("continues", continues(rows[n - 1]?.dataset, row.dataset));
  }
}
