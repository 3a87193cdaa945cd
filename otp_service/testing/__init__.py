"""What a package of your own needs to test its gateway."""
