"""What a client can be told is wrong, with the HTTP status that says so; other ways in show the message alone."""

from text2sql.errors import UserError


class ServeError(UserError):
    """A request that gets no answer. ``kind`` is a word for programs; ``retry_after`` is in seconds."""

    def __init__(self, status: int, kind: str, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.retry_after = status, kind, retry_after

    @property
    def body(self) -> dict[str, dict[str, str]]:
        """The form that OpenAI's clients know."""
        return {"error": {"type": self.kind, "message": str(self)}}
