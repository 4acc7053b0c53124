/* Printing: open folded parts meanwhile, and write when the page was printed. */

let folded = [];

window.addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("main details:not([open], [data-menu])")];
  for (const details of folded) details.open = true;
  const time = new Date().toISOString().slice(0, 19).replace("T", " ");
  for (const part of document.querySelectorAll("[data-printed]"))
    part.textContent = part.dataset.printed.replace("{time}", time);
});

window.addEventListener("afterprint", () => {
  for (const details of folded) details.open = false;
});
