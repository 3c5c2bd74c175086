"""One request at one stage of this worker: its key, the decisions about it, and the frames that follow from it."""
