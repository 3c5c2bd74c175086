"""The Open Inference Protocol: its messages, in a descriptor pool of their own, and their wire form."""
