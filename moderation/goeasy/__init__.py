"""GoEasy IM as this console speaks it: the client, its errors, and webhook signatures. Knows no model."""
