"""The machine that this process runs on: what computes, how much of it there is, and what it is called."""
