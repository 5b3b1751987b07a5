"""The status board: every process tells once a second how it is doing, and whoever is asked puts that together."""
