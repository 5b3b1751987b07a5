"""The outside world: PostgreSQL, which holds everything that is true, and Redis, which elects and carries."""
