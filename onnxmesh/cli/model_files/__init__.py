"""Commands that work on a model's file, without a mesh: split, verify, plan, profile."""
