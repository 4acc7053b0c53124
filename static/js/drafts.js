/* Rules for what is kept of a form that was not sent: which fields, for whom, and for how long. */

const SECRET = /passw|secret|key|token|^typed/i;
const TYPES = [
  "text",
  "search",
  "number",
  "email",
  "url",
  "tel",
  "date",
  "time",
  "datetime-local",
  "checkbox",
  "radio",
];
const HOURS = 12;

/* `type` is the field's own: "textarea" and "select-one" besides those of an input. Secrets are never kept. */
export const isKept = ({ name, type }) =>
  Boolean(name) && !SECRET.test(name) && (type === "textarea" || type === "select-one" || TYPES.includes(type));

export const keyOf = (person, page) => `typed-${person}-${page}`;

/* Whether a key of the tab's storage is that of a draft or of a selection: signing out erases both. */
export const isOurs = (key) => /^(typed|selection)-/.test(key);

export const isOf = (key, person) => key.split("-", 2)[1] === person;

/* Whether a draft is filled in again: the form was refused or the session ended, not too long ago. */
export const isDue = (draft, now) => Boolean(draft?.again) && now - draft.at < HOURS * 3600 * 1000;
