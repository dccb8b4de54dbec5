"""Grow them: specs, families, the nano world and its base model, the trainer and its gates. Imports no other room."""
