/* Buttons that copy the text of an element, named by `data-copy`. */

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent.trim());
    button.textContent = button.dataset.done;
  } catch {
    // No clipboard, or not allowed: the text is selected instead.
    getSelection()?.selectAllChildren(source);
  }
});
