"""The mistakes in files and folders that stop a run, each told in one line."""


class InputError(Exception):
    """A file, folder or flag that the user has to put right: the message says where and what."""
