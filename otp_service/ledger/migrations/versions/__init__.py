"""The steps, in order: each names its predecessor."""
