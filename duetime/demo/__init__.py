"""The live demo: one page on loopback over real processes, with the report's checker and its renderer."""
