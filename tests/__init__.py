"""The tests, as a package of its own: the wheel of lekcut has a `tests` too, which would be imported in its place."""
