"""The generated messages of the Open Inference Protocol, in their own descriptor pool."""
