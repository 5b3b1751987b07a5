"""Real stores, real clusters and in-memory twins of the stores, for the tests of the project and of its users."""
