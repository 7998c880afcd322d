"""The one way the mesh says no.

Room: every refusal, whatever room it arises in, is `Refused(reason, detail)`. The reason is a member of
`Reason`: a stable code that audit records and machines read, with the HTTP status a caller sees.
What leaves to a caller is the code at most; `detail` is for the operator's log and the audit record.

This module imports nothing of the project and knows no protocol.
"""

from enum import Enum
from http import HTTPStatus
from typing import Final


class Reason(Enum):
    """Why the mesh refused. The value is (stable code, HTTP status); codes never change their meaning."""

    # -- identity: SPIFFE IDs, SVIDs, bundles, chains ------------------------------------------------------
    ID_MALFORMED = ("identity.id_malformed", HTTPStatus.FORBIDDEN)
    ID_NOT_AUTHORIZED = ("identity.id_not_authorized", HTTPStatus.FORBIDDEN)

    # -- configuration --------------------------------------------------------------------------------------
    CONFIG_INVALID = ("config.invalid", HTTPStatus.INTERNAL_SERVER_ERROR)

    # -- JSON -------------------------------------------------------------------------------------------------
    JSON_MALFORMED = ("json.malformed", HTTPStatus.BAD_REQUEST)
    JSON_NOT_UTF8 = ("json.not_utf8", HTTPStatus.BAD_REQUEST)
    JSON_DUPLICATE_KEY = ("json.duplicate_key", HTTPStatus.BAD_REQUEST)
    JSON_NUMBER = ("json.number", HTTPStatus.BAD_REQUEST)
    JSON_SURROGATE = ("json.surrogate", HTTPStatus.BAD_REQUEST)
    JSON_TOO_DEEP = ("json.too_deep", HTTPStatus.BAD_REQUEST)
    JSON_TOO_LARGE = ("json.too_large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    def __init__(self, code: str, status: HTTPStatus) -> None:
        self.code: Final = code
        self.status: Final = status


class Refused(Exception):  # noqa: N818  a refusal is a decision, not an error
    """A decision not to go on.

    `detail` may name what was found, for the operator; it never holds a token, a key or a parameter's value.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason: Final = reason
        self.detail: Final = detail

    def __str__(self) -> str:
        return f"{self.reason.code}: {self.detail}" if self.detail else self.reason.code
