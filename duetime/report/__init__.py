"""Reports about stored runs; they do not change a verdict."""
