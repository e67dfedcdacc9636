"""Why the checker cannot go on with a formula that it can read: one family, whose messages are for people."""


class NotDecidable(Exception):
    """The statement is outside what the checker decides; the message says why."""
