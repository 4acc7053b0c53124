import assert from "node:assert/strict";
import { test } from "node:test";

import { count, fill } from "../../static/js/text.js";

test("every place is filled in, wherever it stands", () => {
  assert.equal(fill("{n} of {all}, {n} shown", { n: 3, all: 40 }), "3 of 40, 3 shown");
});

test("braces that name no place stay as they are", () => {
  assert.equal(fill("{} and { n }", { n: 1 }), "{} and { n }");
});

test("a value with a placeholder's form is not filled in again", () => {
  assert.equal(fill("{name}", { name: "{n}", n: 5 }), "{n}");
});

test("one has a noun of its own, none and many share theirs", () => {
  const messages = (n) => count(n, "1 message", "{n} messages");
  assert.deepEqual([0, 1, 2].map(messages), ["0 messages", "1 message", "2 messages"]);
});
