import assert from "node:assert/strict";
import { test } from "node:test";

import { around, inOrder, range, stepped } from "../../static/js/order.js";

const row = (place, id) => ({ dataset: { place, id } });

test("rows stand by time, and by id within a millisecond, compared as numbers", () => {
  const rows = [row("1700", "10"), row("1700", "9"), row("999", "11")];
  assert.deepEqual(
    rows.sort(inOrder).map(({ dataset }) => dataset.id),
    ["11", "9", "10"],
  );
});

test("a range includes both ends in either direction", () => {
  assert.deepEqual(range(["a", "b", "c", "d"], "b", "d"), ["b", "c", "d"]);
  assert.deepEqual(range(["a", "b", "c", "d"], "d", "b"), ["b", "c", "d"]);
});

test("a range from a row that is gone is the row alone", () => {
  assert.deepEqual(range(["a", "b"], "gone", "b"), ["b"]);
});

test("a step stops at the ends", () => {
  const rows = ["a", "b", "c"];
  assert.equal(stepped(rows, "b", 1), "c");
  assert.equal(stepped(rows, "c", 1), "c");
  assert.equal(stepped(rows, "a", -1), "a");
});

test("going round leads from one end to the other, and begins at the near one", () => {
  const rows = ["a", "b", "c"];
  assert.equal(around(rows, "a", 1), "b");
  assert.equal(around(rows, "c", 1), "a");
  assert.equal(around(rows, "a", -1), "c");
  assert.equal(around(rows, null, 1), "a");
  assert.equal(around(rows, null, -1), "c");
  assert.equal(around([], null, 1), undefined);
});
