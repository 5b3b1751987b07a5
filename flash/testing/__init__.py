"""Real stores and real clusters for tests, the project's own and those of its users."""
