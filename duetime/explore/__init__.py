"""Carries out every interleaving of a small scope on a real PostgreSQL, and judges each."""
