"""The mechanisms of faults: a faked clock, a network namespace, a TCP proxy."""
