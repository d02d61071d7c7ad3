"""The Python client of the notification send-optimizer.

It needs urllib3 and orjson, nothing of the service itself.
"""

from sendopt_client.client import TIMEOUT_SECONDS, Choice, ClientError, Document, SendoptClient

__all__ = ["TIMEOUT_SECONDS", "Choice", "ClientError", "Document", "SendoptClient"]
