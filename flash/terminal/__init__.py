"""The commands of a person at a terminal who uses a running service: `flash buy`, `flash top`, and a made-up crowd."""
