/* A button for each reason, which chooses it and goes on to the review: one click for what were three. */

for (const place of document.querySelectorAll("[data-quick-reasons]")) {
  const form = place.closest("form");
  const { reason } = form.elements;
  // The first one is the request to choose.
  for (const [number, option] of [...reason.options].entries()) {
    if (!number) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button quick-reason";
    button.textContent = option.textContent;
    button.addEventListener("click", () => {
      reason.value = option.value;
      form.querySelector("[data-ctrl-enter]").click();
    });
    place.append(button);
  }
  place.hidden = false;
}
