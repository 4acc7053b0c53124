import assert from "node:assert/strict";
import { test } from "node:test";

import { entriesOf, inWords } from "../../static/js/answers.js";

const words = {
  added: "Added: {n}. Selected: {all}.",
  leftOut: "{n} left out.",
  gone: "{n} gone.",
  notNameable: "{n} without a time.",
  newest: "The newest {n}.",
  unknown: "{n} unknown.",
  rejected: "Not understood:",
  most: "2000",
};

test("an entry keeps what is known, without its timestamp", () => {
  const message = { timestamp: 1700000000001, sender: "u-1", name: "Ann", text: "hi", count: 2 };
  assert.deepEqual(entriesOf({ messages: [message] }), [
    [1700000000001, { sender: "u-1", name: "Ann", text: "hi", count: 2 }],
  ]);
});

test("a timestamp that the archive does not have is one message of nobody", () => {
  assert.deepEqual(entriesOf({ messages: [], unknown: [17] }), [[17, { sender: "", name: "", text: "", count: 1 }]]);
});

test("nothing is said of what did not happen", () => {
  const answer = { messages: [], recalled: 0, gone: 0, not_nameable: 0, more: false, unknown: [], rejected: [] };
  assert.equal(inWords(answer, { added: 0, all: 4 }, words), "Added: 0. Selected: 4.");
});

test("all that happened is said, in this order", () => {
  const answer = {
    messages: [],
    recalled: 1,
    gone: 2,
    not_nameable: 3,
    more: true,
    unknown: [5],
    rejected: [
      ["12", "“12” is too short"],
      ["x", "“x” is no number"],
    ],
  };
  assert.equal(
    inWords(answer, { added: 6, all: 7 }, words),
    "Added: 6. Selected: 7. 1 left out. 2 gone. 3 without a time. The newest 2000. 1 unknown. " +
      "Not understood: “12” is too short; “x” is no number.",
  );
});
