"""Investigators turn evidence into a claim. `reader` needs no LLM."""
