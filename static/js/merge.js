/* What of a list of rows stays when a new version of it comes. */

/* For each of the `fresh` rows, in their order, whether the row that is there stays as it is: rows are pairs of an id
   and markup, and one that has not changed is not touched. */
export function merged(old, fresh) {
  const there = new Map(old);
  return fresh.map(([id, markup]) => ({ id, stays: there.get(id) === markup }));
}

/* Whether nothing has to move: the same rows in the same order. */
export const sameOrder = (old, fresh) => old.length === fresh.length && old.every(([id], n) => id === fresh[n][0]);

/* The first of the candidates for what is being read that is still in the list; undefined when none is. */
export const anchorAmong = (candidates, fresh) => candidates.find((id) => fresh.some(([other]) => other === id));
