"""The routing policy in virtual time, against other policies; see METHODOLOGY.md."""
