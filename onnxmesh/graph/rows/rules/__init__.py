"""Rules of operators: where the outputs of a node have their rows."""
