"""The one exception that a user's mistake raises."""


class UserError(Exception):
    """A mistake that the user can mend: the message is one clear sentence (what, where, what to do).

    The command line prints the message without a traceback and exits with status 2.
    """
