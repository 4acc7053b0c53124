import assert from "node:assert/strict";
import { test } from "node:test";

import { callsFor, timestampsIn } from "../../static/js/timestamps.js";

test("a call takes twenty timestamps", () => {
  assert.deepEqual([0, 1, 20, 21, 40, 41].map(callsFor), [0, 1, 1, 2, 2, 3]);
});

test("a repeated timestamp counts once", () => {
  assert.deepEqual(
    [...timestampsIn("1700000000001, 1700000000002\n1700000000001")],
    ["1700000000001", "1700000000002"],
  );
});

test("full-width digits are digits", () => {
  assert.deepEqual([...timestampsIn("１７０００００００００１０")], ["1700000000010"]);
});

test("longer and shorter numbers are no timestamps", () => {
  assert.equal(timestampsIn("170000000000 17000000000011 x").size, 0);
  assert.equal(timestampsIn("").size, 0);
});
