"""Location service: where records live, in which order they change, and who is told."""
