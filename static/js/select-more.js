/* Selecting what is not on the screen: all from a sender, a span of time, a pasted list; and what the filter leaves. */

import { entriesOf, inWords } from "./answers.js";
import { leadsToSignIn } from "./notice.js";
import { messages, rows } from "./rows.js";
import { add, choose, form, picked } from "./selection.js";
import { fill } from "./text.js";

const at = (id) => document.getElementById(id);
const words = form?.dataset ?? {};

function say(text) {
  at("selection-status").textContent = text;
}

/* `refused`: what to say when the server cannot read what was asked for. */
async function take(address, { refused = words.failed, ...options } = {}) {
  say("");
  let answer;
  try {
    const response = await fetch(address, { redirect: "manual", ...options });
    if (leadsToSignIn(response)) return null;
    if (response.status === 400) {
      say(refused);
      return null;
    }
    answer = await response.json();
    if (!response.ok) throw new Error(response.statusText);
  } catch {
    say(words.failed);
    return null;
  }
  const added = add(entriesOf(answer));
  say(inWords(answer, { added, all: picked.size }, words));
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
    say(fill(words.halfTyped, { field: unread[0].labels[0].textContent.trim() }));
    unread[0].focus();
    return;
  }
  const span = { since: at("since").value, until: at("until").value };
  const times = Object.values(span).filter(Boolean);
  if (!times.length) {
    say(words.saySpan);
    return;
  }
  // Where the browser takes any text, the server says no: to this one, as far as this page can know.
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
