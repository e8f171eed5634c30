"""A rule with two conditions, as each of the three designs would do it."""
