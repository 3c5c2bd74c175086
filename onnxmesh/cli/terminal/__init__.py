"""What every command shares: options, exit codes, the console, progress."""
