"""Loads, links and ejections that the gateways of a mesh share through live state."""
