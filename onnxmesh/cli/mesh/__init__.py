"""Commands that talk to a mesh, and the tables, sentences and JSON that they print."""
