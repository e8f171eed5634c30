"""Runs designs: servers, clients and faults as real processes, recorded so that the checker can judge them."""
