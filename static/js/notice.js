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
