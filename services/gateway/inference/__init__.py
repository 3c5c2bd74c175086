"""The Open Inference Protocol: decoding, validation, admission, metrics and encoding of requests."""
