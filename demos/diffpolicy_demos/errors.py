"""The one exception that this package raises for a user's mistake with demonstrations.

It is a `ValueError` of its own so that the command line can print it as one line, while a defect of ours still shows
its traceback.
"""


class StoreError(ValueError):
    """A store of demonstrations cannot be found, read, written or trusted.

    The message is one line: the place (path, array, episode), what was found, what was expected and the way out.
    """
