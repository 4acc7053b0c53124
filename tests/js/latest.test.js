import assert from "node:assert/strict";
import { test } from "node:test";

import { latestOf } from "../../static/js/latest.js";

/* A page with a server whose answers are given by hand; waiting takes a few ms. */
function page({ wait = 5, slow = 15 } = {}) {
  const asked = [];
  const seen = [];
  const answers = {};
  const questions = latestOf({
    load(text, signal) {
      asked.push(text);
      signal.addEventListener("abort", () => seen.push(`aborted ${text}`));
      return new Promise((resolve, reject) => {
        answers[text] = { resolve, reject };
      });
    },
    show: (text, answer) => seen.push(`${text}: ${answer}`),
    fail: (text) => seen.push(`failed ${text}`),
    busy: (isBusy) => isBusy && seen.push("busy"),
    wait,
    slow,
  });
  return { asked, seen, answers, questions };
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

test("only the last of several quick questions is asked", async () => {
  const { asked, questions } = page();
  for (const text of ["a", "ab", "abc"]) questions.ask(text);
  await pause(20);
  assert.deepEqual(asked, ["abc"]);
});

test("a slower answer to an older question never replaces a newer one", async () => {
  const { seen, answers, questions } = page();
  questions.ask("old", 0);
  await pause(5);
  questions.ask("new", 0);
  await pause(5);
  answers.new.resolve("2");
  await pause(2);
  answers.old.resolve("1");
  await pause(2);
  assert.deepEqual(seen, ["aborted old", "new: 2"]);
});

test("a failure is told of the latest question alone", async () => {
  const { seen, answers, questions } = page();
  questions.ask("old", 0);
  await pause(5);
  questions.ask("new", 0);
  await pause(5);
  answers.old.reject(new Error("aborted"));
  answers.new.reject(new Error("away"));
  await pause(2);
  assert.deepEqual(seen, ["aborted old", "failed new"]);
});

test("a spinner is for slow answers alone", async () => {
  const { seen, answers, questions } = page();
  questions.ask("quick", 0);
  await pause(5);
  answers.quick.resolve("1");
  await pause(25);
  questions.ask("slow", 0);
  await pause(25);
  answers.slow.resolve("2");
  await pause(2);
  assert.deepEqual(seen, ["quick: 1", "aborted quick", "busy", "slow: 2"]);
});

test("nothing is shown after a stop", async () => {
  const { asked, seen, answers, questions } = page();
  questions.ask("a", 0);
  await pause(5);
  questions.ask("never");
  questions.stop();
  answers.a.resolve("1");
  await pause(25);
  assert.deepEqual(asked, ["a"]);
  assert.deepEqual(seen, ["aborted a"]);
});
