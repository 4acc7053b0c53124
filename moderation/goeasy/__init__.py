"""GoEasy IM: the client, its errors, and webhook signatures. Has no model."""
