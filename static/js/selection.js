/* Which timestamps are selected: kept for this conversation in this tab, whatever part of it is on the page. */

import { boxOf, messages } from "./rows.js";

export const form = document.getElementById("recall-form");
export const picked = new Map();
let sent = "";
let changed = () => {};

export const whenChanged = (then) => {
  changed = then;
};

function save() {
  try {
    sessionStorage.setItem(form.dataset.key, JSON.stringify({ sent, picked: [...picked] }));
  } catch {
    // No room or no storage: the selection lives as long as the page.
  }
}

function load() {
  try {
    return JSON.parse(sessionStorage.getItem(form.dataset.key)) ?? {};
  } catch {
    return {};
  }
}

export function about(row) {
  const text = row.querySelector(".text, .json, .about")?.textContent.trim().replace(/\s+/g, " ") ?? "";
  return {
    sender: row.dataset.sender,
    name: row.querySelector(".name").textContent,
    text: text.slice(0, 80),
    count: Number(row.dataset.count),
  };
}

/* Every box of the page follows the selection: two messages of one millisecond are ticked together. */
export function update() {
  const boxes = [...messages.querySelectorAll(".tick input")];
  const free = new Set(boxes.filter((box) => !box.disabled).map((box) => box.value));
  for (const box of boxes) {
    // Recalled since it was selected.
    if (!free.has(box.value)) picked.delete(box.value);
    box.checked = picked.has(box.value);
  }
  save();
  changed();
}

/* `entries`: pairs of a timestamp (text) and what is known of its messages. Returns how many were not selected before. */
export function add(entries) {
  const before = picked.size;
  for (const [timestamp, entry] of entries) picked.set(String(timestamp), entry);
  update();
  return picked.size - before;
}

export function remove(timestamps) {
  for (const timestamp of timestamps) picked.delete(String(timestamp));
  update();
}

export function clear() {
  picked.clear();
  update();
}

export function choose(chosen, on) {
  const free = chosen.filter((row) => boxOf(row) && !boxOf(row).disabled);
  if (on) add(free.map((row) => [row.dataset.timestamp, about(row)]));
  else remove(free.map((row) => row.dataset.timestamp));
}

function freshId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function start() {
  const kept = load();
  const past = [...document.querySelectorAll("[data-submission]")].map((each) =>
    each.dataset.submission.replaceAll("-", ""),
  );
  // What went out with a recall is no longer a selection.
  if (!past.includes(kept.sent)) {
    sent = kept.sent ?? "";
    for (const [timestamp, entry] of kept.picked ?? []) picked.set(timestamp, entry);
  }
  // Ticked without script, on a page that the server made, or before this script had come.
  for (const input of form.querySelectorAll("input[type=hidden][name=timestamps]")) {
    if (!picked.has(input.value)) picked.set(input.value, { sender: "", name: "", text: "", count: 1 });
    input.remove();
  }
  for (const row of messages.querySelectorAll(".message")) {
    if (boxOf(row)?.checked) picked.set(row.dataset.timestamp, about(row));
  }
  form.addEventListener("submit", () => {
    // Another look at the form is another submission: going back must not repeat the recall that was made.
    sent = form.elements.submission.value = freshId();
    save();
  });
  form.addEventListener("formdata", (event) => {
    event.formData.set("timestamps", [...picked.keys()].sort().concat(form.querySelector("#paste").value).join(" "));
  });
  update();
  // A page from the browser's memory does not know of a recall that was made since.
  window.addEventListener("pageshow", (event) => {
    if (event.persisted && sent) location.reload();
  });
}
