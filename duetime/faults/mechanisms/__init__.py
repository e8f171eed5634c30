"""How a fault is injected: a faked clock, a network namespace, a TCP proxy."""
