import assert from "node:assert/strict";
import { test } from "node:test";

import { isDue, isKept, isOf, isOurs, keyOf } from "../../static/js/drafts.js";

test("text, choices and boxes are kept", () => {
  for (const type of ["text", "textarea", "select-one", "checkbox", "radio", "datetime-local"]) {
    assert.equal(isKept({ name: "note", type }), true, type);
  }
});

test("secrets are never kept, whatever their type", () => {
  for (const name of ["password", "new_password1", "secret_key", "appkey", "csrfmiddlewaretoken", "Token", "typed"]) {
    assert.equal(isKept({ name, type: "text" }), false, name);
  }
  assert.equal(isKept({ name: "note", type: "password" }), false);
});

test("fields without a name, buttons, files and multiple choices are not kept", () => {
  assert.equal(isKept({ name: "", type: "text" }), false);
  for (const type of ["submit", "hidden", "file", "select-multiple"]) {
    assert.equal(isKept({ name: "note", type }), false, type);
  }
});

test("a draft belongs to one account", () => {
  const key = keyOf("7", "/recalls/new/");
  assert.equal(isOf(key, "7"), true);
  assert.equal(isOf(key, "77"), false);
  assert.equal(isOf(keyOf("77", "/"), "7"), false);
});

test("drafts and selections are ours, another script's keys are not", () => {
  assert.deepEqual([keyOf("7", "/"), "selection-7-12", "htmx-history", "untyped-7"].map(isOurs), [
    true,
    true,
    false,
    false,
  ]);
});

test("a draft is filled in again only when marked, and for twelve hours", () => {
  const hours = 3600 * 1000;
  assert.equal(isDue({ again: true, at: 0 }, 11 * hours), true);
  assert.equal(isDue({ again: true, at: 0 }, 12 * hours), false);
  assert.equal(isDue({ again: false, at: 0 }, 0), false);
  assert.equal(isDue({ at: 0 }, 0), false);
  assert.equal(isDue(null, 0), false);
});
