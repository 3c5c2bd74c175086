"""`make bench-zones`: how much stays in its zone, what a full zone spills, how fast a lost one is got over."""
