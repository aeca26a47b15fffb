"""Errors that a user can act on; each message says what is wrong and what to do."""


class HookreelError(Exception):
    """
    Base of every error that is meant for a user.

    The message is one sentence: what is wrong, what to do. ``exit_code`` is what the
    command line ends with: 1 our failure, 2 wrong usage, 3 the answer is no, 4 invalid run.
    """

    exit_code = 1


class UsageError(HookreelError):
    """The command, a file name or an option is wrong; nothing was done."""

    exit_code = 2


class CaptureError(HookreelError):
    """A file is not a capture (or run), or is damaged beyond what can be opened."""


class FileKindError(CaptureError):
    """A file is of another kind than the one wanted; the wrong one was named."""

    exit_code = 2


class CaptureVersionError(CaptureError):
    """A file was written by a newer hookreel than this one."""


class WriteError(HookreelError):
    """A file could not be written (disk full, no permission); what was written before is whole."""
