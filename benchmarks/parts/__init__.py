"""The parts of `make bench`: each measures some of the figures that are asked for."""
