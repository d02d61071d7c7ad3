"""The client of the service for Python, as `sendopt_client` has it."""

from sendopt_client import TIMEOUT_SECONDS, Choice, ClientError, Document, SendoptClient

__all__ = ["TIMEOUT_SECONDS", "Choice", "ClientError", "Document", "SendoptClient"]
