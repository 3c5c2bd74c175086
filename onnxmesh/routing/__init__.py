"""Routing policy: which replica runs each stage of a request; pure, shared by scheduler and gateways."""
