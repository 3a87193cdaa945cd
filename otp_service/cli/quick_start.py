"""A quick start: nothing looks for garbage while modules are imported.

What they define stays as long as the process. The collector would look through all of it again and again, which takes a
fifth of a start.
"""

import gc


def hold_collections() -> None:
    """Let no collection run until `collect_again`; to be called before the modules are imported."""
    gc.disable()


def collect_again() -> None:
    """Let collections run where they were held, without what there is by now: it stays. Elsewhere change nothing."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
