/* The review in a sheet beside the conversation. What it cannot show, as a mistake in the form, a page of its own does. */

import { release } from "./forms.js";
import { form } from "./selection.js";

const sheet = document.getElementById("review-sheet");

async function show() {
  const review = document.getElementById("review");
  review.setAttribute("aria-busy", "true");
  let text = "";
  try {
    const response = await fetch(form.action, {
      method: "POST",
      body: new URLSearchParams(new FormData(form)),
      headers: { "HX-Request": "true" },
      redirect: "manual",
    });
    text = response.ok ? await response.text() : "";
  } catch {
    // The browser says what is wrong when the form goes by itself, and shows the sign-in when the session has ended.
  } finally {
    review.removeAttribute("aria-busy");
    release(form);
  }
  if (!text || text.trimStart().toLowerCase().startsWith("<!doctype")) {
    form.submit();
    return;
  }
  sheet.innerHTML = text;
  if (!sheet.open) sheet.showModal();
  sheet.scrollTop = 0;
  // Nothing that cannot be undone has the focus.
  (sheet.querySelector("#id_typed_count") ?? sheet.querySelector("h1")).focus({ preventScroll: true });
}

export function start() {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    show();
  });
  sheet.addEventListener("click", (event) => {
    if (event.target.closest("[data-close-sheet]")) sheet.close();
  });
  sheet.addEventListener("close", () => sheet.replaceChildren());
}
