"""The application whose users get notified."""
