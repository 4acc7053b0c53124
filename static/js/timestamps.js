/* Timestamps of messages, as GoEasy counts them. */

const PER_CALL = 20;

/* How many calls a recall of so many timestamps takes. */
export const callsFor = (timestamps) => Math.ceil(timestamps / PER_CALL);

/* The different timestamps in a pasted text, as text. */
export const timestampsIn = (text) => new Set(text.normalize("NFKC").match(/(?<!\d)\d{13}(?!\d)/g));
