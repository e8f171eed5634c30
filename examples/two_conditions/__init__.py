"""A rule with two conditions in each of the three designs: accepted, and no sooner than 3 days after the purchase."""
