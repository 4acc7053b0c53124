/* The filter above the timeline: the server compares, by the same rules as its search. */

import { group } from "./groups.js";
import { leadsToSignIn } from "./notice.js";
import { messages, rows } from "./rows.js";
import { form } from "./selection.js";
import { fill } from "./text.js";

const at = (id) => document.getElementById(id);

let turns = 0;
let latest = Promise.resolve();

/* Resolves when the rows are filtered. */
export const filtered = () => latest;

export function filter() {
  latest = narrow(at("filter"), ++turns);
}

async function narrow(field, turn) {
  const all = [...messages.querySelectorAll(".message")];
  const wanted = field.value.trim();
  // “Select shown” needs the answer first.
  at("select-shown").hidden = true;
  if (!wanted) {
    for (const row of all) row.hidden = false;
    group(all);
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
    if (turn === turns) at("failed").hidden = false;
    return;
  }
  // A later input has its own answer.
  if (turn !== turns) return;
  for (const row of all) row.hidden = !matching.has(row.dataset.id);
  group(rows());
  at("failed").hidden = true;
  at("filter-count").textContent = fill(field.dataset.shown, { n: rows().length, all: all.length });
  at("select-shown").hidden = !form;
}
