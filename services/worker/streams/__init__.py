"""What leaves a stage: Activations to the next worker, Results and Failures to the gateways."""
