"""What can go wrong, each with its own heal and its own proof that it bit."""
