"""Settings that several services share, one module for each subject."""
