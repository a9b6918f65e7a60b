"""The one error that a user can cause and mend."""


class UserError(ValueError):
    """The user's input or data is wrong.

    Its message is one line: it names the file or key, says what is wrong and what to do. The command line prints it
    without a traceback and exits with status 1.
    """
