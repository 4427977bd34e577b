"""A prediction for one image or many, what speaks for it, and how far to trust it."""
