"""Live state: short-lived values and session affinity that the processes of a mesh share."""
