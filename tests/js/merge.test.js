import assert from "node:assert/strict";
import { test } from "node:test";

import { anchorAmong, merged, sameOrder } from "../../static/js/merge.js";

const old = [
  ["1", "<li>one</li>"],
  ["2", "<li>two</li>"],
];

test("a row that has not changed stays, a changed or new one is replaced", () => {
  const fresh = [
    ["3", "<li>three</li>"],
    ["2", "<li>two!</li>"],
    ["1", "<li>one</li>"],
  ];
  assert.deepEqual(merged(old, fresh), [
    { id: "3", stays: false },
    { id: "2", stays: false },
    { id: "1", stays: true },
  ]);
});

test("rows keep their places only when all are there in the same order", () => {
  assert.ok(sameOrder(old, [["1", "changed"], old[1]]));
  assert.ok(!sameOrder(old, [...old].reverse()));
  assert.ok(!sameOrder(old, [old[0]]));
  assert.ok(!sameOrder(old, [...old, ["3", ""]]));
});

test("what is being read is the likeliest row that is still there", () => {
  assert.equal(anchorAmong(["9", "2", "1"], old), "2");
  assert.equal(anchorAmong(["9"], old), undefined);
  assert.equal(anchorAmong([], old), undefined);
});
