/* Shows a notice that the page has ready: hidden in its place, or in a template at the end of where it belongs. */

export function show(name) {
  const shown = document.getElementById(name);
  if (shown) {
    shown.hidden = false;
    return;
  }
  const ready = document.getElementById(`${name}-notice`);
  ready?.parentElement.prepend(ready.content.cloneNode(true));
}
