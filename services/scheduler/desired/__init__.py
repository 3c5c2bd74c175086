"""What should be served: specs, desired stages and traffic rules. Pure."""
