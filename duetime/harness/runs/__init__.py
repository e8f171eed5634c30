"""Runs: start the processes, carry out the plan, inject the faults, record everything."""
