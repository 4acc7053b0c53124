/* Seconds until a recall is sent; then what follows the count says that it waits for a worker. */

function countDown(element) {
  const ends = performance.now() + 1000 * Number(element.dataset.countdown);
  const step = () => {
    const left = Math.max(0, Math.ceil((ends - performance.now()) / 1000));
    element.textContent = String(left);
    if (left > 0 && element.isConnected) setTimeout(step, 200);
    if (left === 0) {
      element.parentElement.hidden = true;
      element.parentElement.nextElementSibling.hidden = false;
    }
  };
  step();
}

export const wireCountdowns = (root) => {
  for (const element of root.querySelectorAll("[data-countdown]")) countDown(element);
};
