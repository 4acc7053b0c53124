/* Texts that the server translated, with places in braces to fill in here. */

export const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_whole, name) => values[name]);

/* A number with its noun: `one` as it is, `many` with {n}. */
export const count = (n, one, many) => (n === 1 ? one : fill(many, { n }));
