"""What the processes count, and how Prometheus gets to read it."""
