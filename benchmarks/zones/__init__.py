"""`make bench-zones`: locality, spillover and failover of requests between two zones."""
