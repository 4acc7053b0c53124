/* The selection in words: how many, how many calls, whose, which. */

import { senders, sorted, totals } from "./figures.js";
import { clear, form, picked, remove } from "./selection.js";
import { count, fill } from "./text.js";

const SENDERS = 5;
const MESSAGES = 6;
const words = form?.dataset ?? {};
const at = (id) => document.getElementById(id);

function item(...parts) {
  const made = document.createElement("li");
  made.append(...parts);
  return made;
}

function part(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

/* From here to taking back what this sender wrote elsewhere too. */
function sweep(id, name) {
  const link = part("a", "small", words.sweepText);
  link.href = words.sweep + encodeURIComponent(id);
  link.setAttribute("aria-label", fill(words.sweepLabel, { name }));
  return link;
}

function listSenders(entries) {
  const all = senders(entries);
  const shown = all.slice(0, SENDERS).map(({ id, name, n }) => {
    const line = item(part("bdi", "", name || words.unknownText), " ", part("span", "number", n));
    if (id) line.append(" ", sweep(id, name));
    return line;
  });
  if (all.length > SENDERS) shown.push(item(fill(words.more, { n: all.length - SENDERS })));
  at("picked-senders").replaceChildren(...shown);
}

function listMessages(entries) {
  const shown = entries.slice(0, MESSAGES).map(([timestamp, entry]) => {
    const text = entry.text || words.unknownText;
    const button = part("button", "button quiet", "×");
    button.type = "button";
    button.setAttribute("aria-label", fill(words.remove, { text: `${text} ${timestamp}` }));
    button.addEventListener("click", () => {
      remove([timestamp]);
      (at("picked-list").querySelector("button") ?? at("review")).focus();
    });
    const line = part("span", "line", "");
    line.append(part("bdi", "", text), part("span", "stamp", timestamp));
    return item(line, button);
  });
  if (entries.length > MESSAGES) shown.push(item(fill(words.more, { n: entries.length - MESSAGES })));
  at("picked-list").replaceChildren(...shown);
}

export function show() {
  const entries = sorted(picked);
  const { messages, calls, shared } = totals(entries);
  const sum = entries.length
    ? `${count(messages, words.one, words.many)} · ${count(calls, words.oneCall, words.manyCalls)}`
    : words.none;
  at("sum").textContent = sum;
  at("sum").classList.toggle("some", entries.length > 0);
  at("bar-sum").textContent = sum;
  at("bar").hidden = at("clear").hidden = at("picked").hidden = !entries.length;
  listSenders(entries);
  listMessages(entries);
  at("picked-shared").hidden = !shared;
  at("picked-shared").textContent = fill(words.shared, { n: shared });
  const tooMany = entries.length > Number(words.most);
  at("picked-too-many").hidden = !tooMany;
  at("picked-too-many").textContent = fill(words.tooMany, { n: words.most });
  at("review").disabled = tooMany;
}

/* What clients will see, as it is being changed. */
function recaller() {
  const shown = {};
  const data = at("recall_recaller_data").value.trim();
  if (at("recall_recaller_id").value) shown.id = at("recall_recaller_id").value;
  try {
    if (data) shown.data = JSON.parse(data);
  } catch {
    // Not JSON, so far at least: it would not be sent.
    at("as-json").textContent = "…";
    return;
  }
  at("as-person").hidden = true;
  at("as-json").textContent = Object.keys(shown).length ? JSON.stringify(shown) : words.nobody;
}

export function start() {
  // These fields are there only for people who may choose a recaller.
  for (const id of ["recall_recaller_id", "recall_recaller_data"]) at(id)?.addEventListener("input", recaller);
  at("sum").setAttribute("role", "status");
  at("clear").addEventListener("click", clear);
  at("review").addEventListener("click", (event) => {
    if (picked.size || at("paste").value.trim()) return;
    event.preventDefault();
    at("selection-status").textContent = words.none;
  });
}
