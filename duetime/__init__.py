"""How do I reliably do X at time T? Start reading at ``duetime.interface``."""
