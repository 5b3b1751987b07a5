"""What is sold, told by leaders to every web process through Redis, so that visitors read without a query."""
