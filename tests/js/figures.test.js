import assert from "node:assert/strict";
import { test } from "node:test";

import { senders, sorted, totals } from "../../static/js/figures.js";

const entry = (sender, count = 1, name = "") => ({ sender, name, text: "", count });
const entries = [
  ["1700000000300", entry("u-2")],
  ["1700000000100", entry("u-1", 3, "Ann")],
  ["900", entry("u-2")],
];

test("timestamps are sorted as numbers, not as text", () => {
  assert.deepEqual(
    sorted(new Map(entries)).map(([timestamp]) => timestamp),
    ["900", "1700000000100", "1700000000300"],
  );
});

test("totals count messages, calls and the messages that share a timestamp", () => {
  assert.deepEqual(totals(entries), { messages: 5, calls: 1, shared: 3 });
  assert.deepEqual(totals([]), { messages: 0, calls: 0, shared: 0 });
});

test("calls count timestamps, not messages", () => {
  const twenty = Array.from({ length: 20 }, (_none, n) => [String(n), entry("u", 2)]);
  assert.equal(totals(twenty).calls, 1);
  assert.equal(totals([...twenty, ["20", entry("u")]]).calls, 2);
});

test("the sender with the most messages comes first, by name where there is one", () => {
  assert.deepEqual(senders(entries), [
    { id: "u-1", name: "Ann", n: 3 },
    { id: "u-2", name: "u-2", n: 2 },
  ]);
});

test("messages without a sender are added up under an empty name", () => {
  assert.deepEqual(
    senders([
      ["1", entry("")],
      ["2", entry(null)],
    ]),
    [{ id: "", name: "", n: 2 }],
  );
});
