"""Values of one inference request: the request, its attempts, its result and its final error."""
