/* The palette (Ctrl-K): asks while somebody types, and moves in the answer. What it shows is the server's, but for the
   conversations opened lately, which the browser keeps. Without an answer Enter leads to the page with the same. */

import { latestOf } from "./latest.js";
import { leadsToSignIn } from "./notice.js";
import { around } from "./order.js";
import { keyOf, read, withOpened } from "./recents.js";

const at = (id) => document.getElementById(id);
const dialog = at("jump-dialog");
const person = document.querySelector("meta[name=account]")?.content ?? "";
const here = document.querySelector("h1[data-conversation]");

function recents() {
  try {
    return read(localStorage.getItem(keyOf(person)));
  } catch {
    return [];
  }
}

if (here && person) {
  try {
    const entries = withOpened(recents(), here.dataset.conversation, here.textContent.trim());
    localStorage.setItem(keyOf(person), JSON.stringify(entries));
  } catch {
    // No storage: nothing is kept.
  }
}

if (dialog) setUp();

function setUp() {
  const field = at("palette-q");
  const form = at("palette");
  const answer = at("palette-answer");
  let active = null;

  const list = () => at("palette-list");
  const options = () => [...list().querySelectorAll("[role=option]")];

  function activate(option) {
    active?.setAttribute("aria-selected", "false");
    active = option ?? null;
    if (active) {
      active.setAttribute("aria-selected", "true");
      field.setAttribute("aria-activedescendant", active.id);
    } else {
      field.removeAttribute("aria-activedescendant");
    }
  }

  function recentGroup() {
    const entries = recents().filter(({ id }) => id !== here?.dataset.conversation);
    if (!entries.length) return null;
    const group = at("palette-recent").content.firstElementChild.cloneNode(true);
    const line = group.querySelector("li");
    for (const { id, title } of entries) {
      const copy = line.cloneNode(true);
      const option = copy.firstElementChild;
      option.id = `option-recent-${id}`;
      option.setAttribute("href", option.getAttribute("href").replace("/0/", `/${id}/`));
      option.firstElementChild.textContent = title;
      line.before(copy);
    }
    line.remove();
    return group;
  }

  /* What changed in the list: the first option is the one that Enter opens. */
  function settle(text) {
    if (!text) {
      const group = recentGroup();
      at("results-recent")?.closest("section").remove();
      if (group) list().prepend(group);
    }
    const all = options();
    list().hidden = all.length === 0;
    field.setAttribute("aria-expanded", String(all.length > 0));
    activate(all.find(({ id }) => id === active?.id) ?? all[0]);
    list().scrollTop = 0;
  }

  const questions = latestOf({
    async load(text, signal) {
      const response = await fetch(`${form.action}?${new URLSearchParams({ q: text })}`, {
        headers: { "HX-Request": "true" },
        redirect: "manual",
        signal,
      });
      if (leadsToSignIn(response)) return null;
      if (!response.ok) throw new Error(response.statusText);
      return response.text();
    },
    show(text, html) {
      if (html === null) {
        dialog.close();
        return;
      }
      answer.innerHTML = html;
      at("palette-failed").hidden = true;
      settle(text);
      at("palette-status").textContent = text ? answer.firstElementChild.dataset.summary : "";
    },
    fail(text) {
      const link = at("palette-failed").querySelector("a");
      link.search = new URLSearchParams({ q: text });
      list().replaceChildren();
      settle(text);
      at("palette-failed").hidden = false;
    },
    busy(isBusy) {
      at("palette-spinner").hidden = !isBusy;
    },
  });

  function ask(...after) {
    // What is shown answers an earlier text: Enter must not open it.
    activate(null);
    questions.ask(field.value.trim(), ...after);
  }

  dialog.addEventListener("opened", () => {
    if (!field.value) settle("");
    ask(0);
    if (!field.value) activate(options()[0]);
  });
  dialog.addEventListener("close", () => {
    questions.stop();
    at("palette-status").textContent = "";
  });
  at("palette-close").addEventListener("click", () => dialog.close());

  // Until a word is composed there is nothing to ask.
  field.addEventListener("input", (event) => {
    if (event.isComposing) activate(null);
    else ask();
  });
  field.addEventListener("compositionend", () => ask());

  field.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && !event.altKey) {
      event.preventDefault();
      activate(around(options(), active, step));
      active?.scrollIntoView({ block: "nearest" });
    } else if (event.key === "Enter" && active) {
      event.preventDefault();
      const { ctrlKey, metaKey, shiftKey } = event;
      active.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true, ctrlKey, metaKey, shiftKey }));
    }
  });

  answer.addEventListener("pointermove", (event) => {
    const option = event.target.closest("[role=option]");
    if (option && option !== active) activate(option);
  });
  answer.addEventListener("click", (event) => {
    const opensElsewhere = event.ctrlKey || event.metaKey || event.shiftKey;
    if (event.target.closest("[role=option]") && !opensElsewhere) dialog.close();
  });
}
