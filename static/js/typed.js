/* Keeps what is typed into a form in this tab, by account and page. If the session ends before the form is sent, it is
   filled in again after signing in. Signing out, or another account, erases it. Secrets are never kept. */

import { isDue, isKept, isOf, isOurs, keyOf } from "./drafts.js";
import { show as showNotice } from "./notice.js";
import { keyOf as recentsOf } from "./recents.js";

const account = document.querySelector("meta[name=account]");
const person = account?.content ?? "";
// What answers a POST at an address of its own is filled in again on the page that has the form.
const page = new URL(account?.dataset.page || location.href, location.href).pathname;
const key = keyOf(person, page);

/* The timeline's boxes belong to the selection, which is kept by itself. */
const isToBeKept = (field) => isKept(field) && !field.closest("#messages");

/* The fields of every POST form, each with a name that is the same after a reload. */
function* fields() {
  for (const form of document.forms) {
    if (form.method !== "post") continue;
    const counts = {};
    for (const field of form.elements) {
      if (!isToBeKept(field)) continue;
      const name = `${form.getAttribute("action") ?? ""} ${field.name} ${field.type}`;
      counts[name] = (counts[name] ?? 0) + 1;
      yield [`${name} ${counts[name]}`, field, form];
    }
  }
}

const isTicked = (field) => field.type === "checkbox" || field.type === "radio";
const stateOf = (field) => (isTicked(field) ? field.checked : field.value);

function read(name) {
  try {
    return JSON.parse(sessionStorage.getItem(name));
  } catch {
    return null;
  }
}

function write(name, entry) {
  try {
    sessionStorage.setItem(name, JSON.stringify(entry));
  } catch {
    // No room or no storage: the text is lost with the page.
  }
}

function erase(isErased) {
  try {
    for (const name of Object.keys(sessionStorage)) {
      if (isOurs(name) && isErased(name)) sessionStorage.removeItem(name);
    }
  } catch {
    // No storage: nothing was kept.
  }
}

/* The conversations that the person opened lately are not for whoever signs in next. */
function eraseRecents() {
  try {
    localStorage.removeItem(recentsOf(person));
  } catch {
    // No storage: nothing was kept.
  }
}

const drafts = () => Object.keys(sessionStorage).filter((name) => name.startsWith("typed-"));

/* On the sign-in page and on a refused form: the next page is filled in. */
function markAll() {
  for (const name of drafts()) write(name, { ...read(name), again: true, sent: false });
}

function save(event) {
  const form = event.target.form;
  if (!person || form?.method !== "post" || !isToBeKept(event.target)) return;
  const entry = read(key) ?? { values: {} };
  for (const [name, field, of] of fields()) if (of === form) entry.values[name] = stateOf(field);
  write(key, { values: entry.values, at: Date.now() });
}

function fill(values) {
  for (const [name, field] of fields()) {
    if (!(name in values) || stateOf(field) === values[name]) continue;
    if (isTicked(field)) field.checked = values[name];
    else field.value = values[name];
    for (let box = field.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
    for (const type of ["input", "change"]) field.dispatchEvent(new Event(type, { bubbles: true }));
  }
  showNotice("typed-kept");
}

try {
  if (!person || document.querySelector("[data-keeps-typed]")) {
    markAll();
  } else {
    // A form that was sent and did not lead to the sign-in has arrived.
    erase((name) => !isOf(name, person) || read(name)?.sent === true);
    const entry = read(key);
    // Wait until every script of the page listens.
    if (isDue(entry, Date.now())) {
      write(key, { ...entry, again: false });
      document.addEventListener("DOMContentLoaded", () => fill(entry.values));
    } else {
      sessionStorage.removeItem(key);
    }
  }
} catch {
  // No storage: nothing was kept.
}

document.addEventListener("input", save);
document.addEventListener("change", save);
document.addEventListener(
  "submit",
  (event) => {
    const entry = read(key);
    if (event.target.matches("[data-sign-out], #logout-form")) {
      erase(() => true);
      eraseRecents();
    } else if (entry && event.target.method === "post") write(key, { ...entry, sent: true });
  },
  { capture: true },
);
