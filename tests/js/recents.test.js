import assert from "node:assert/strict";
import { test } from "node:test";

import { keyOf, read, withOpened } from "../../static/js/recents.js";

const ids = (entries) => entries.map(({ id }) => id);

test("what was opened last comes first, once, by its present title", () => {
  let entries = [];
  for (const [id, title] of [
    ["1", "one"],
    ["2", "two"],
    ["1", "uno"],
  ])
    entries = withOpened(entries, id, title);
  assert.deepEqual(entries, [
    { id: "1", title: "uno" },
    { id: "2", title: "two" },
  ]);
});

test("six are kept, of nothing but ids and titles", () => {
  let entries = [];
  for (let id = 1; id <= 9; id += 1) entries = withOpened(entries, id, `title ${id}`);
  assert.deepEqual(ids(entries), ["9", "8", "7", "6", "5", "4"]);
  assert.deepEqual(Object.keys(entries[0]), ["id", "title"]);
});

test("a title is cut, and without one nothing is kept", () => {
  assert.equal(withOpened([], "1", "x".repeat(999))[0].title.length, 200);
  assert.deepEqual(withOpened([], "1", ""), []);
});

test("what is not ours is not read", () => {
  for (const text of [null, "", "{", "null", "5", '{"id":"1"}', '["a",null,5,[]]']) assert.deepEqual(read(text), []);
  const odd = [
    { id: "1", title: "one" },
    { id: "../2", title: "two" },
    { id: 3, title: "three" },
    { id: "4" },
    { id: "5", title: {} },
  ];
  assert.deepEqual(ids(read(JSON.stringify(odd))), ["1", 3]);
});

test("each account has its own", () => {
  assert.notEqual(keyOf("1"), keyOf("2"));
});
