"""The scheduler: decides how models are cut and which worker holds what, and tells gateways."""
