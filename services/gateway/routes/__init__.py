"""Routes: the route table that is followed, and the choice of a route for each request."""
