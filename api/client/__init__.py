"""The client of the service for Python."""

from api.client.client import TIMEOUT_SECONDS, Choice, ClientError, Document, SendoptClient

__all__ = ["TIMEOUT_SECONDS", "Choice", "ClientError", "Document", "SendoptClient"]
