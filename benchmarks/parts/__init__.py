"""The parts of `make bench`: each measures some of the targets."""
