"""A prediction for one film or many, what speaks for it, and how far to trust it."""
