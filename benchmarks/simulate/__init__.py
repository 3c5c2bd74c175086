"""The routing policy in virtual time, against other ways to choose; see METHODOLOGY.md."""
