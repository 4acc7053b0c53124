/* Forms: each is sent once, and shows only the fields that it sends. */

/* One submission per form that changes something. The server would recognise a second one; people need not wonder. */

const buttonsOf = (form) => form.querySelectorAll("button:not([type=button])");

export function release(form) {
  delete form.dataset.submitted;
  for (const button of buttonsOf(form)) button.removeAttribute("aria-disabled");
}

document.addEventListener(
  "submit",
  (event) => {
    const form = event.target;
    if (form.method !== "post") return;
    if (form.dataset.submitted) {
      event.preventDefault();
      event.stopImmediatePropagation();
      return;
    }
    form.dataset.submitted = "yes";
    for (const button of buttonsOf(form)) button.setAttribute("aria-disabled", "true");
    // A page that never comes must not leave the buttons dead.
    setTimeout(release, 10_000, form);
  },
  { capture: true },
);

window.addEventListener("pageshow", () => document.querySelectorAll("form[data-submitted]").forEach(release));
document.addEventListener("htmx:afterRequest", (event) => {
  const form = event.target.closest?.("form");
  if (form) release(form);
});

/* One kind of conversation at a time: the other kind's fields are neither shown nor sent. */

for (const form of document.querySelectorAll("form:has([data-kind-fields])")) {
  const show = () => {
    const kind = form.querySelector("input[name=kind]:checked")?.value;
    for (const group of form.querySelectorAll("[data-kind-fields]")) {
      group.hidden = kind !== undefined && group.dataset.kindFields !== kind;
      for (const input of group.querySelectorAll("input")) input.disabled = group.hidden;
    }
  };
  form.addEventListener("change", show);
  show();
}
