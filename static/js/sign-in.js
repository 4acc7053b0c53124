/* The sign-in page: what the last person of this tab had selected is not for the next one to find. */

try {
  for (const key of Object.keys(sessionStorage)) {
    if (key.startsWith("selection-")) sessionStorage.removeItem(key);
  }
} catch {
  // No storage: nothing was kept.
}
