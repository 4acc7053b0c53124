/* Shows a prepared notice: hidden in its place, or in a template whose parent it is put into. */

export function show(name) {
  const shown = document.getElementById(name);
  if (shown) {
    shown.hidden = false;
    return;
  }
  const ready = document.getElementById(`${name}-notice`);
  ready?.parentElement.prepend(ready.content.cloneNode(true));
}

/* Whether the server sends to the sign-in instead of answering (a fetch with redirect: "manual"); the page says so. */
export function leadsToSignIn(response) {
  if (response.type !== "opaqueredirect") return false;
  show("signed-out");
  return true;
}
