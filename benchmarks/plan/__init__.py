"""`make bench-plan`: what the planner promises, held against what is measured."""
