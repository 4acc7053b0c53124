/* Selecting what is not on the screen: all from a sender, a span of time, a pasted list; and what a filter leaves. */

import { messages, rows } from "./rows.js";
import { add, choose, form, picked } from "./selection.js";

const at = (id) => document.getElementById(id);
const words = form?.dataset ?? {};
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_whole, name) => values[name]);

const tell = (...sentences) => { at("told").textContent = sentences.filter(Boolean).join(" "); };

function leadsToSignIn(response) {
  if (response.type !== "opaqueredirect") return false;
  at("signed-out").hidden = false;
  return true;
}

/* `refused`: what to say when the server cannot read what was asked for. */
async function take(address, { refused = words.failed, ...options } = {}) {
  tell();
  let answer;
  try {
    const response = await fetch(address, { redirect: "manual", ...options });
    if (leadsToSignIn(response)) return null;
    if (response.status === 400) {
      tell(refused);
      return null;
    }
    answer = await response.json();
    if (!response.ok) throw new Error(response.statusText);
  } catch {
    tell(words.failed);
    return null;
  }
  const entries = answer.messages.map(({ timestamp, ...told }) => [timestamp, told]);
  for (const timestamp of answer.unknown ?? []) entries.push([timestamp, { sender: "", name: "", text: "", count: 1 }]);
  const added = add(entries);
  tell(
    fill(words.added, { n: added, all: picked.size }),
    answer.recalled && fill(words.leftOut, { n: answer.recalled }),
    answer.gone && fill(words.gone, { n: answer.gone }),
    answer.not_nameable && fill(words.notNameable, { n: answer.not_nameable }),
    answer.more && fill(words.newest, { n: words.most }),
    answer.unknown?.length && fill(words.unknown, { n: answer.unknown.length }),
    answer.rejected?.length && `${words.rejected} ${answer.rejected.map(([, why]) => why).join("; ")}.`,
  );
  return answer;
}

export const fromSender = (sender) => take(`${words.select}?${new URLSearchParams({ sender })}`);

async function inSpan() {
  const fields = [at("since"), at("until")];
  const unread = fields.filter((field) => !field.validity.valid);
  for (const field of fields) field.removeAttribute("aria-invalid");
  for (const field of unread) field.setAttribute("aria-invalid", "true");
  // The browser gives a half-typed time as none at all: asking then would select more than was meant.
  if (unread.length) {
    tell(fill(words.halfTyped, { field: unread[0].labels[0].textContent.trim() }));
    unread[0].focus();
    return;
  }
  const span = { since: at("since").value, until: at("until").value };
  const times = Object.values(span).filter(Boolean);
  if (!times.length) {
    tell(words.saySpan);
    return;
  }
  // Where the browser takes any text, the server says no: to this one, as far as can be told.
  const wrong = times.filter((time) => Number.isNaN(Date.parse(time)));
  const given = (wrong.length ? wrong : times).join(", ");
  await take(`${words.select}?${new URLSearchParams(span)}`, { refused: fill(words.noTime, { given }) });
}

async function pasted() {
  const body = new FormData();
  body.append("timestamps", at("paste").value);
  body.append("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
  const answer = await take(words.select, { method: "POST", body });
  // What was not understood stays where it can be put right.
  if (answer) at("paste").value = answer.rejected.map(([piece]) => piece).join("\n");
}

let asked = 0;
let answered = Promise.resolve();

/* Resolves when the rows are filtered. */
export const filtered = () => answered;

export function filter() {
  answered = narrow(at("filter"), ++asked);
}

/* The server compares, by the same rules as its search. */
async function narrow(field, turn) {
  const all = [...messages.querySelectorAll(".message")];
  const wanted = field.value.trim();
  // “Select shown” needs the answer first.
  at("select-shown").hidden = true;
  if (!wanted) {
    for (const row of all) row.hidden = false;
    at("filter-count").textContent = "";
    return;
  }
  const body = new FormData();
  body.append("q", wanted);
  if (at("filter-loosely").checked) body.append("loosely", "1");
  body.append("messages", all.map((row) => row.dataset.id).join(","));
  body.append("csrfmiddlewaretoken", document.querySelector("[name=csrfmiddlewaretoken]").value);
  let matching;
  try {
    const response = await fetch(field.dataset.address, { method: "POST", body, redirect: "manual" });
    if (leadsToSignIn(response)) return;
    if (!response.ok) throw new Error(response.statusText);
    matching = new Set((await response.json()).matching.map(String));
  } catch {
    if (turn === asked) at("failed").hidden = false;
    return;
  }
  // A later input has its own answer.
  if (turn !== asked) return;
  for (const row of all) row.hidden = !matching.has(row.dataset.id);
  at("failed").hidden = true;
  at("filter-count").textContent = fill(field.dataset.shown, { n: rows().length, all: all.length });
  at("select-shown").hidden = !form;
}

export function start() {
  at("select-shown").addEventListener("click", () => choose(rows(), true));
  // A form of its own: its button and its Enter select, and its mistakes never keep the recall's form from going.
  at("span-form").addEventListener("submit", (event) => {
    event.preventDefault();
    inSpan();
  });
  at("select-pasted").addEventListener("click", pasted);
  for (const id of ["since", "until"]) at(id).addEventListener("input", () => at(id).removeAttribute("aria-invalid"));
  messages.addEventListener("click", (event) => {
    const button = event.target.closest("[data-all]");
    if (button) fromSender(button.closest(".message").dataset.sender);
  });
}
