"""HTTP: a provider that is described by configuration alone."""
