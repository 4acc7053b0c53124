/* Questions of which only the latest one counts: a later one ends the one before, whose answer is never shown.

   `load(text, signal)` resolves with the answer. It is called `wait` ms after the last question; `busy(true)` is called
   when an answer takes more than `slow` ms. `show(text, answer)` or `fail(text)` is called for the latest one alone. */

export function latestOf({ load, show, fail, busy, wait = 150, slow = 300 }) {
  let turn = 0;
  let waiting;
  let slowly;
  let request = new AbortController();

  function stop() {
    turn += 1;
    clearTimeout(waiting);
    clearTimeout(slowly);
    request.abort();
    busy(false);
  }

  async function run(text, mine) {
    const { signal } = request;
    slowly = setTimeout(busy, slow, true);
    let shown;
    try {
      const answer = await load(text, signal);
      shown = () => show(text, answer);
    } catch {
      shown = () => fail(text);
    }
    if (mine !== turn) return;
    clearTimeout(slowly);
    busy(false);
    shown();
  }

  function ask(text, after = wait) {
    stop();
    request = new AbortController();
    waiting = setTimeout(run, after, text, turn);
  }

  return { ask, stop };
}
