"""What each URL does."""
