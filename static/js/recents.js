/* Rules for the conversations that somebody opened lately: the browser keeps their ids and titles, by account. */

const MOST = 6;
const MAX_TITLE = 200;

export const keyOf = (person) => `recent-${person}`;

const isEntry = (entry) => /^[0-9]{1,18}$/.test(entry?.id ?? "") && typeof entry.title === "string" && entry.title;

/* What is kept, from its text; nothing when that is not one of ours. */
export function read(text) {
  try {
    const entries = JSON.parse(text);
    return Array.isArray(entries) ? entries.filter(isEntry).slice(0, MOST) : [];
  } catch {
    return [];
  }
}

/* The entries after the conversation `id` was opened: it first, once, by its present title. */
export const withOpened = (entries, id, title) =>
  [{ id: String(id), title: title.slice(0, MAX_TITLE) }, ...entries.filter((entry) => entry.id !== String(id))]
    .filter(isEntry)
    .slice(0, MOST);
