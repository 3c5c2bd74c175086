"""The proof by structure that the rows of a batch are independent."""
