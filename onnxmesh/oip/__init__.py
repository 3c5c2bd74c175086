"""The Open Inference Protocol: its messages, in their own descriptor pool, and their wire form."""
