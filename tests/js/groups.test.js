import assert from "node:assert/strict";
import { test } from "node:test";
import { continues } from "../../static/js/groups.js";

const row = (fields = {}) => ({ sender: "u-1", writer: "Lin", day: "2026-01-31", place: "1000", ...fields });

test("a sender's next message within five minutes needs no header", () => {
  assert.equal(continues(row(), row({ place: String(1000 + 5 * 60 * 1000 - 1) })), true);
});

test("the first row, another sender, another name, another day and five minutes begin a header", () => {
  assert.equal(continues(undefined, row()), false);
  for (const fields of [
    { sender: "u-2" },
    { writer: "Lin Mei" },
    { day: "2026-02-01" },
    { place: String(1000 + 5 * 60 * 1000) },
    { arrived: "" },
  ]) {
    assert.equal(continues(row(), row(fields)), false, JSON.stringify(fields));
  }
});
