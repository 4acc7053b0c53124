/* The order of rows: by place in time, then by id. */

export const inOrder = (one, other) => one.dataset.place - other.dataset.place || one.dataset.id - other.dataset.id;

/* All from `anchor` to `row`, both included, in whichever direction; `row` alone when `anchor` is not among them. */
export function range(all, anchor, row) {
  const from = all.indexOf(anchor);
  const to = all.indexOf(row);
  return from < 0 ? [row] : all.slice(Math.min(from, to), Math.max(from, to) + 1);
}

/* The one `step` places after `here`, or the one at the end. */
export const stepped = (all, here, step) => all[Math.min(Math.max(all.indexOf(here) + step, 0), all.length - 1)];

/* The one `step` places after `here`, going round at the ends; without `here` the first or the last one. */
export function around(all, here, step) {
  const from = all.indexOf(here);
  if (from < 0) return step > 0 ? all[0] : all.at(-1);
  return all[(from + step + all.length) % all.length];
}
