"""Selectors and preferences over the labels of workers, and their text form."""
