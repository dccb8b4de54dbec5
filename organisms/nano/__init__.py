"""The nano tier: a micro-world of text with real structure, and the small base model trained on it."""
