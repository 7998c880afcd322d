"""What a server is told of a question that did not reach its client: values only. Pure."""

from dataclasses import dataclass

from spiffe_mcp.errors import Refused
from spiffe_mcp.http import Request
from spiffe_mcp.permit import GrantedOnly


@dataclass(frozen=True, slots=True)
class Declined(metaclass=GrantedOnly):
    """An error in answer to the question `method`, as it may be sent to the server; `refused` is why."""

    request: Request
    method: str
    refused: Refused
