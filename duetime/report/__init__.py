"""What a stored run looks like to people; never a live one, and never with a say in the verdict."""
