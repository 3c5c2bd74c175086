"""Service discovery: registration of processes and a directory of them, in a scheduler or in Consul."""
