"""Rules of a site's own: asked by the worker before a gateway is; and who verifies human checks, asked by a start."""
