"""The faults that a run can inject, each with a way to heal it and evidence that it took effect."""
