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

    # -- identity: SPIFFE IDs, SVIDs, bundles, chains --------------------------------------------------------
    ID_MALFORMED = ("identity.id_malformed", HTTPStatus.FORBIDDEN)
    ID_NOT_AUTHORIZED = ("identity.id_not_authorized", HTTPStatus.FORBIDDEN)
    CHAIN_EMPTY = ("identity.chain_empty", HTTPStatus.FORBIDDEN)
    CHAIN_TOO_LONG = ("identity.chain_too_long", HTTPStatus.FORBIDDEN)
    CHAIN_TOO_LARGE = ("identity.chain_too_large", HTTPStatus.FORBIDDEN)
    CHAIN_UNTRUSTED = ("identity.chain_untrusted", HTTPStatus.FORBIDDEN)
    CHAIN_PATH_LENGTH = ("identity.chain_path_length", HTTPStatus.FORBIDDEN)
    CHAIN_NAME_CONSTRAINTS = ("identity.chain_name_constraints", HTTPStatus.FORBIDDEN)
    CHAIN_CRITICAL_EXTENSION = ("identity.chain_critical_extension", HTTPStatus.FORBIDDEN)
    CERTIFICATE_MALFORMED = ("identity.certificate_malformed", HTTPStatus.FORBIDDEN)
    CERTIFICATE_WEAK_KEY = ("identity.certificate_weak_key", HTTPStatus.FORBIDDEN)
    CERTIFICATE_WEAK_SIGNATURE = ("identity.certificate_weak_signature", HTTPStatus.FORBIDDEN)
    CERTIFICATE_EXPIRED = ("identity.certificate_expired", HTTPStatus.FORBIDDEN)
    CERTIFICATE_NOT_YET_VALID = ("identity.certificate_not_yet_valid", HTTPStatus.FORBIDDEN)
    LEAF_NO_URI_SAN = ("identity.leaf_no_uri_san", HTTPStatus.FORBIDDEN)
    LEAF_SEVERAL_URI_SANS = ("identity.leaf_several_uri_sans", HTTPStatus.FORBIDDEN)
    LEAF_IS_CA = ("identity.leaf_is_ca", HTTPStatus.FORBIDDEN)
    LEAF_KEY_USAGE_MISSING = ("identity.leaf_key_usage_missing", HTTPStatus.FORBIDDEN)
    LEAF_KEY_USAGE_NOT_CRITICAL = ("identity.leaf_key_usage_not_critical", HTTPStatus.FORBIDDEN)
    LEAF_NO_DIGITAL_SIGNATURE = ("identity.leaf_no_digital_signature", HTTPStatus.FORBIDDEN)
    LEAF_KEY_CERT_SIGN = ("identity.leaf_key_cert_sign", HTTPStatus.FORBIDDEN)
    LEAF_CRL_SIGN = ("identity.leaf_crl_sign", HTTPStatus.FORBIDDEN)
    LEAF_EXTENDED_KEY_USAGE = ("identity.leaf_extended_key_usage", HTTPStatus.FORBIDDEN)
    ISSUER_NOT_CA = ("identity.issuer_not_ca", HTTPStatus.FORBIDDEN)
    ISSUER_NO_KEY_CERT_SIGN = ("identity.issuer_no_key_cert_sign", HTTPStatus.FORBIDDEN)
    ISSUER_SEVERAL_URI_SANS = ("identity.issuer_several_uri_sans", HTTPStatus.FORBIDDEN)
    ISSUER_TRUST_DOMAIN = ("identity.issuer_trust_domain", HTTPStatus.FORBIDDEN)
    BUNDLE_UNKNOWN = ("identity.trust_domain_unknown", HTTPStatus.FORBIDDEN)
    BUNDLE_EMPTY = ("identity.bundle_empty", HTTPStatus.FORBIDDEN)
    BUNDLE_TOO_LARGE = ("identity.bundle_too_large", HTTPStatus.SERVICE_UNAVAILABLE)
    BUNDLE_TWICE = ("identity.bundle_twice", HTTPStatus.SERVICE_UNAVAILABLE)
    BUNDLE_DOCUMENT = ("identity.bundle_document", HTTPStatus.SERVICE_UNAVAILABLE)
    SVID_KEY_MALFORMED = ("identity.svid_key_malformed", HTTPStatus.SERVICE_UNAVAILABLE)
    SVID_KEY_MISMATCH = ("identity.svid_key_mismatch", HTTPStatus.SERVICE_UNAVAILABLE)
    SVID_ID_MISMATCH = ("identity.svid_id_mismatch", HTTPStatus.SERVICE_UNAVAILABLE)
    SVID_NOT_OFFERED = ("identity.svid_not_offered", HTTPStatus.SERVICE_UNAVAILABLE)
    SVID_NOT_ISSUED = ("identity.svid_not_issued", HTTPStatus.SERVICE_UNAVAILABLE)
    SVID_HINT = ("identity.svid_hint", HTTPStatus.SERVICE_UNAVAILABLE)
    WORKLOAD_API_MALFORMED = ("identity.workload_api_malformed", HTTPStatus.SERVICE_UNAVAILABLE)
    WORKLOAD_API_INCOMPLETE = ("identity.workload_api_incomplete", HTTPStatus.SERVICE_UNAVAILABLE)
    WORKLOAD_API_ADDRESS = ("identity.workload_api_address", HTTPStatus.SERVICE_UNAVAILABLE)
    WORKLOAD_API_DENIED = ("identity.workload_api_denied", HTTPStatus.SERVICE_UNAVAILABLE)
    WORKLOAD_API_REJECTED = ("identity.workload_api_rejected", HTTPStatus.SERVICE_UNAVAILABLE)
    WORKLOAD_REFERENCE = ("identity.workload_reference", HTTPStatus.SERVICE_UNAVAILABLE)
    WORKLOAD_NOT_FOUND = ("identity.workload_not_found", HTTPStatus.SERVICE_UNAVAILABLE)
    BROKER_MALFORMED = ("identity.broker_malformed", HTTPStatus.SERVICE_UNAVAILABLE)
    BROKER_ADDRESS = ("identity.broker_address", HTTPStatus.SERVICE_UNAVAILABLE)
    BROKER_DENIED = ("identity.broker_denied", HTTPStatus.SERVICE_UNAVAILABLE)
    BROKER_REJECTED = ("identity.broker_rejected", HTTPStatus.SERVICE_UNAVAILABLE)
    BROKER_NO_IDENTITY = ("identity.broker_no_identity", HTTPStatus.SERVICE_UNAVAILABLE)
    DELEGATED_MALFORMED = ("identity.delegated_malformed", HTTPStatus.SERVICE_UNAVAILABLE)
    DELEGATED_ADDRESS = ("identity.delegated_address", HTTPStatus.SERVICE_UNAVAILABLE)
    DELEGATED_DENIED = ("identity.delegated_denied", HTTPStatus.SERVICE_UNAVAILABLE)
    DELEGATED_REJECTED = ("identity.delegated_rejected", HTTPStatus.SERVICE_UNAVAILABLE)
    SOURCE_UNREACHABLE = ("identity.source_unreachable", HTTPStatus.SERVICE_UNAVAILABLE)
    SVID_EXPIRED = ("identity.svid_expired", HTTPStatus.SERVICE_UNAVAILABLE)
    SVID_NOT_YET_VALID = ("identity.svid_not_yet_valid", HTTPStatus.SERVICE_UNAVAILABLE)

    # -- configuration ---------------------------------------------------------------------------------------
    CONFIG_INVALID = ("config.invalid", HTTPStatus.INTERNAL_SERVER_ERROR)
    DRAINING = ("agent.draining", HTTPStatus.SERVICE_UNAVAILABLE)
    RELOAD_FILES_CHANGING = ("reload.files_changing", HTTPStatus.INTERNAL_SERVER_ERROR)
    RELOAD_NEEDS_RESTART = ("reload.needs_restart", HTTPStatus.INTERNAL_SERVER_ERROR)
    DESCRIPTORS_TOO_FEW = ("agent.descriptors_too_few", HTTPStatus.INTERNAL_SERVER_ERROR)
    LISTEN_FAILED = ("listen.failed", HTTPStatus.INTERNAL_SERVER_ERROR)

    # -- mesh: what this agent has, and where calls go -------------------------------------------------------
    IDENTITY_UNAVAILABLE = ("mesh.identity_unavailable", HTTPStatus.SERVICE_UNAVAILABLE)
    ROUTE_UNKNOWN = ("mesh.route_unknown", HTTPStatus.NOT_FOUND)
    HTTP_METHOD = ("mesh.http_method", HTTPStatus.METHOD_NOT_ALLOWED)
    ORIGIN_FORBIDDEN = ("mesh.origin_forbidden", HTTPStatus.FORBIDDEN)
    SESSION_UNKNOWN = ("mesh.session_unknown", HTTPStatus.NOT_FOUND)
    SESSION_EVENT_UNKNOWN = ("mesh.session_event_unknown", HTTPStatus.BAD_REQUEST)
    SESSIONS_FULL = ("mesh.sessions_full", HTTPStatus.SERVICE_UNAVAILABLE)
    SESSION_UNUSABLE = ("mesh.session_unusable", HTTPStatus.BAD_GATEWAY)
    SUBSCRIPTIONS_FULL = ("mesh.subscriptions_full", HTTPStatus.SERVICE_UNAVAILABLE)
    TASKS_FULL = ("mesh.tasks_full", HTTPStatus.SERVICE_UNAVAILABLE)
    TASK_UNUSABLE = ("mesh.task_unusable", HTTPStatus.BAD_GATEWAY)
    BODY_UNEXPECTED = ("mesh.body_unexpected", HTTPStatus.BAD_REQUEST)
    REQUEST_UNBINDABLE = ("mesh.request_unbindable", HTTPStatus.BAD_REQUEST)
    CONTENT_TYPE = ("mesh.content_type", HTTPStatus.UNSUPPORTED_MEDIA_TYPE)

    # -- workload: which process of this node calls, or is called --------------------------------------------
    WORKLOAD_KERNEL = ("workload.kernel", HTTPStatus.INTERNAL_SERVER_ERROR)
    WORKLOAD_PID_UNKNOWN = ("workload.pid_unknown", HTTPStatus.FORBIDDEN)
    WORKLOAD_EXITED = ("workload.exited", HTTPStatus.FORBIDDEN)
    WORKLOAD_UNATTESTED = ("workload.unattested", HTTPStatus.SERVICE_UNAVAILABLE)
    WORKLOAD_CGROUP = ("workload.cgroup", HTTPStatus.FORBIDDEN)
    WORKLOAD_NO_POD = ("workload.no_pod", HTTPStatus.FORBIDDEN)
    WORKLOAD_SEVERAL_PODS = ("workload.several_pods", HTTPStatus.FORBIDDEN)
    WORKLOAD_PID_FILE = ("workload.pid_file", HTTPStatus.SERVICE_UNAVAILABLE)
    WORKLOAD_TOO_MANY = ("workload.too_many", HTTPStatus.SERVICE_UNAVAILABLE)
    WORKLOAD_CONNECTIONS = ("workload.connections", HTTPStatus.SERVICE_UNAVAILABLE)

    # -- TLS -------------------------------------------------------------------------------------------------
    TLS_HANDSHAKE = ("tls.handshake", HTTPStatus.FORBIDDEN)
    TLS_NO_CERTIFICATE = ("tls.no_certificate", HTTPStatus.FORBIDDEN)
    TLS_RESUMED = ("tls.resumed", HTTPStatus.FORBIDDEN)
    TLS_TIMEOUT = ("tls.timeout", HTTPStatus.FORBIDDEN)
    TLS_BUSY = ("tls.busy", HTTPStatus.SERVICE_UNAVAILABLE)
    TLS_TRUNCATED = ("tls.truncated", HTTPStatus.SERVICE_UNAVAILABLE)
    TLS_REJECTED = ("tls.rejected", HTTPStatus.FORBIDDEN)
    TLS_LIFETIME = ("tls.lifetime", HTTPStatus.SERVICE_UNAVAILABLE)

    # -- HTTP ------------------------------------------------------------------------------------------------
    HTTP_MALFORMED = ("http.malformed", HTTPStatus.BAD_REQUEST)
    HTTP_FRAMING = ("http.framing", HTTPStatus.BAD_REQUEST)
    HTTP_HOST = ("http.host", HTTPStatus.BAD_REQUEST)
    HTTP_TARGET = ("http.target", HTTPStatus.BAD_REQUEST)
    HTTP_VERSION = ("http.version", HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    HTTP_HEAD_TOO_LARGE = ("http.head_too_large", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
    HTTP_BODY_TOO_LARGE = ("http.body_too_large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    HTTP_TIMEOUT = ("http.timeout", HTTPStatus.REQUEST_TIMEOUT)
    HTTP_BUSY = ("http.busy", HTTPStatus.SERVICE_UNAVAILABLE)

    # -- upstreams and hops: the other end of a call ---------------------------------------------------------
    UPSTREAM_UNREACHABLE = ("upstream.unreachable", HTTPStatus.SERVICE_UNAVAILABLE)
    UPSTREAM_UNTRUSTED = ("upstream.untrusted", HTTPStatus.SERVICE_UNAVAILABLE)
    UPSTREAM_BROKEN = ("upstream.broken", HTTPStatus.SERVICE_UNAVAILABLE)
    UPSTREAM_TIMEOUT = ("upstream.timeout", HTTPStatus.GATEWAY_TIMEOUT)

    # -- stdio: a server's process, which this agent runs ----------------------------------------------------
    STDIO_NOT_STARTED = ("stdio.not_started", HTTPStatus.SERVICE_UNAVAILABLE)
    STDIO_ENDED = ("stdio.ended", HTTPStatus.SERVICE_UNAVAILABLE)
    STDIO_STUCK = ("stdio.stuck", HTTPStatus.SERVICE_UNAVAILABLE)
    STDIO_UNREAD = ("stdio.unread", HTTPStatus.SERVICE_UNAVAILABLE)
    STDIO_TOO_MANY = ("stdio.too_many", HTTPStatus.SERVICE_UNAVAILABLE)

    # -- JSON ------------------------------------------------------------------------------------------------
    JSON_MALFORMED = ("json.malformed", HTTPStatus.BAD_REQUEST)
    JSON_NOT_UTF8 = ("json.not_utf8", HTTPStatus.BAD_REQUEST)
    JSON_DUPLICATE_KEY = ("json.duplicate_key", HTTPStatus.BAD_REQUEST)
    JSON_NUMBER = ("json.number", HTTPStatus.BAD_REQUEST)
    JSON_SURROGATE = ("json.surrogate", HTTPStatus.BAD_REQUEST)
    JSON_TOO_DEEP = ("json.too_deep", HTTPStatus.BAD_REQUEST)
    JSON_TOO_LARGE = ("json.too_large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    # -- user context: the header Mesh-User-Context ----------------------------------------------------------
    CONTEXT_MISSING = ("context.missing", HTTPStatus.FORBIDDEN)
    CONTEXT_MALFORMED = ("context.malformed", HTTPStatus.BAD_REQUEST)
    CONTEXT_TOO_LARGE = ("context.too_large", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
    CONTEXT_CHAIN_UNSUPPORTED = ("context.chain_unsupported", HTTPStatus.FORBIDDEN)
    CONTEXT_HEADER_FORBIDDEN = ("context.header_forbidden", HTTPStatus.FORBIDDEN)
    CONTEXT_TYPE = ("context.type", HTTPStatus.FORBIDDEN)
    CONTEXT_ALGORITHM = ("context.algorithm", HTTPStatus.FORBIDDEN)
    CONTEXT_CERTIFICATE = ("context.certificate", HTTPStatus.FORBIDDEN)
    CONTEXT_SIGNATURE = ("context.signature", HTTPStatus.FORBIDDEN)
    CONTEXT_CLAIM_MISSING = ("context.claim_missing", HTTPStatus.BAD_REQUEST)
    CONTEXT_CLAIM_UNKNOWN = ("context.claim_unknown", HTTPStatus.BAD_REQUEST)
    CONTEXT_CLAIM_MALFORMED = ("context.claim_malformed", HTTPStatus.BAD_REQUEST)
    CONTEXT_ISSUER_MISMATCH = ("context.issuer_mismatch", HTTPStatus.FORBIDDEN)
    CONTEXT_PEER_MISMATCH = ("context.peer_mismatch", HTTPStatus.FORBIDDEN)
    CONTEXT_SIGNER_MISMATCH = ("context.signer_mismatch", HTTPStatus.FORBIDDEN)
    CONTEXT_CHANNEL = ("context.channel", HTTPStatus.FORBIDDEN)
    CONTEXT_AUDIENCE = ("context.audience", HTTPStatus.FORBIDDEN)
    CONTEXT_LIFETIME = ("context.lifetime", HTTPStatus.FORBIDDEN)
    CONTEXT_NOT_YET_VALID = ("context.not_yet_valid", HTTPStatus.FORBIDDEN)
    CONTEXT_EXPIRED = ("context.expired", HTTPStatus.FORBIDDEN)
    CONTEXT_ACTOR = ("context.actor", HTTPStatus.FORBIDDEN)
    CONTEXT_BINDING_METHOD = ("context.binding_method", HTTPStatus.FORBIDDEN)
    CONTEXT_BINDING_URI = ("context.binding_uri", HTTPStatus.FORBIDDEN)
    CONTEXT_BINDING_BODY = ("context.binding_body", HTTPStatus.FORBIDDEN)
    CONTEXT_BINDING_MCP = ("context.binding_mcp", HTTPStatus.FORBIDDEN)
    CONTEXT_REPLAYED = ("context.replayed", HTTPStatus.FORBIDDEN)
    CONTEXT_REPLAY_FULL = ("context.replay_full", HTTPStatus.SERVICE_UNAVAILABLE)

    # -- manifest: no verified manifest, no call -------------------------------------------------------------
    MANIFEST_ENVELOPE = ("manifest.envelope", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_BASE64 = ("manifest.base64", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_SIGNATURE_COUNT = ("manifest.signature_count", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_PAYLOAD_TYPE = ("manifest.payload_type", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_SIGNATURE = ("manifest.signature", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_FIELD_UNKNOWN = ("manifest.field_unknown", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_FIELD_MISSING = ("manifest.field_missing", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_FIELD_INVALID = ("manifest.field_invalid", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_STATEMENT_TYPE = ("manifest.statement_type", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_PREDICATE_TYPE = ("manifest.predicate_type", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_SUBJECT = ("manifest.subject", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_SUBJECT_DIGEST = ("manifest.subject_digest", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_SERIAL = ("manifest.serial", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_PREVIOUS = ("manifest.previous", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_TIME_FORMAT = ("manifest.time_format", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_TIME_ORDER = ("manifest.time_order", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_RISK_LEVEL = ("manifest.risk_level", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_NUMBER = ("manifest.number", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_NOT_CANONICAL = ("manifest.not_canonical", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_TEXT = ("manifest.text", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_TOOL_NAME = ("manifest.tool_name", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_TOOL_COUNT = ("manifest.tool_count", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_TOOL_ORDER = ("manifest.tool_order", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_TOOL_TWIN = ("manifest.tool_twin", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_TOOL_DIGEST = ("manifest.tool_digest", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_DEFINITION = ("manifest.definition", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_NULL = ("manifest.null", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_REFERENCE = ("manifest.reference", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_SCHEMA_INVALID = ("manifest.schema_invalid", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_SERVER_MISMATCH = ("manifest.server_mismatch", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_NO_RULE = ("manifest.no_rule", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_RULE_AMBIGUOUS = ("manifest.rule_ambiguous", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_SIGNER_NOT_TRUSTED = ("manifest.signer_not_trusted", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_THRESHOLD = ("manifest.threshold", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_RISK_ABOVE_MAXIMUM = ("manifest.risk_above_maximum", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_SERIAL_BELOW_MINIMUM = ("manifest.serial_below_minimum", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_VALIDITY_TOO_LONG = ("manifest.validity_too_long", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_NOT_YET_VALID = ("manifest.not_yet_valid", HTTPStatus.SERVICE_UNAVAILABLE)
    MANIFEST_EXPIRED = ("manifest.expired", HTTPStatus.SERVICE_UNAVAILABLE)
    # The local configuration of who may sign, and the keys it names.
    MANIFEST_KEY = ("manifest.key", HTTPStatus.INTERNAL_SERVER_ERROR)
    MANIFEST_TRUST_POLICY = ("manifest.trust_policy", HTTPStatus.INTERNAL_SERVER_ERROR)
    # What the live server does: answered inside JSON-RPC, as for any tool that is not there.
    MANIFEST_TOOL_UNSIGNED = ("manifest.tool_unsigned", HTTPStatus.OK)
    MANIFEST_TOOL_CHANGED = ("manifest.tool_changed", HTTPStatus.OK)
    MANIFEST_TOOL_DUPLICATE = ("manifest.tool_duplicate", HTTPStatus.OK)
    MANIFEST_ARGUMENTS_INVALID = ("manifest.arguments_invalid", HTTPStatus.OK)

    # -- MCP: what a caller sent -----------------------------------------------------------------------------
    MCP_BATCH = ("mcp.batch", HTTPStatus.BAD_REQUEST)
    MCP_ENVELOPE_MALFORMED = ("mcp.envelope_malformed", HTTPStatus.BAD_REQUEST)
    MCP_KEY_CASE = ("mcp.key_case", HTTPStatus.BAD_REQUEST)
    MCP_ID_MALFORMED = ("mcp.id_malformed", HTTPStatus.BAD_REQUEST)
    MCP_PARAMS_MALFORMED = ("mcp.params_malformed", HTTPStatus.BAD_REQUEST)
    MCP_META_MISSING = ("mcp.meta_missing", HTTPStatus.BAD_REQUEST)
    MCP_META_MALFORMED = ("mcp.meta_malformed", HTTPStatus.BAD_REQUEST)
    MCP_HEADER_DUPLICATE = ("mcp.header_duplicate", HTTPStatus.BAD_REQUEST)
    MCP_HEADER_MISSING = ("mcp.header_missing", HTTPStatus.BAD_REQUEST)
    MCP_HEADER_MALFORMED = ("mcp.header_malformed", HTTPStatus.BAD_REQUEST)
    MCP_HEADER_MISMATCH = ("mcp.header_mismatch", HTTPStatus.BAD_REQUEST)
    MCP_VERSION_MISMATCH = ("mcp.version_mismatch", HTTPStatus.BAD_REQUEST)
    MCP_VERSION_UNSUPPORTED = ("mcp.version_unsupported", HTTPStatus.BAD_REQUEST)
    MCP_ERA_BELOW_MINIMUM = ("mcp.era_below_minimum", HTTPStatus.BAD_REQUEST)
    MCP_PARAM_HEADER_MISMATCH = ("mcp.param_header_mismatch", HTTPStatus.BAD_REQUEST)
    MCP_METHOD_UNKNOWN = ("mcp.method_unknown", HTTPStatus.NOT_FOUND)
    MCP_REQUEST_WITHOUT_ID = ("mcp.request_without_id", HTTPStatus.BAD_REQUEST)
    MCP_NOTIFICATION_WITH_ID = ("mcp.notification_with_id", HTTPStatus.BAD_REQUEST)
    MCP_RESPONSE_UNEXPECTED = ("mcp.response_unexpected", HTTPStatus.BAD_REQUEST)
    MCP_TOOL_UNKNOWN = ("mcp.tool_unknown", HTTPStatus.OK)
    MCP_TASK_UNKNOWN = ("mcp.task_unknown", HTTPStatus.OK)

    # -- MCP: what an upstream answered ----------------------------------------------------------------------
    MCP_ANSWER_TYPE = ("mcp.answer_type", HTTPStatus.BAD_GATEWAY)
    MCP_ANSWER_MALFORMED = ("mcp.answer_malformed", HTTPStatus.BAD_GATEWAY)
    MCP_ANSWER_TOO_LARGE = ("mcp.answer_too_large", HTTPStatus.BAD_GATEWAY)
    MCP_ANSWER_MISSING = ("mcp.answer_missing", HTTPStatus.BAD_GATEWAY)
    MCP_ANSWER_UNEXPECTED = ("mcp.answer_unexpected", HTTPStatus.BAD_GATEWAY)
    MCP_ANSWER_ERROR = ("mcp.answer_error", HTTPStatus.BAD_GATEWAY)
    MCP_SERVER_REQUEST_REFUSED = ("mcp.server_request_refused", HTTPStatus.BAD_GATEWAY)
    MCP_SERVER_REQUESTS_FULL = ("mcp.server_requests_full", HTTPStatus.BAD_GATEWAY)
    MCP_CAPABILITY_UNDECLARED = ("mcp.capability_undeclared", HTTPStatus.BAD_GATEWAY)
    MCP_RESULT_TYPE = ("mcp.result_type", HTTPStatus.BAD_GATEWAY)
    MCP_INPUT_REQUESTS = ("mcp.input_requests", HTTPStatus.BAD_GATEWAY)
    MCP_TASK_MALFORMED = ("mcp.task_malformed", HTTPStatus.BAD_GATEWAY)
    MCP_TASK_FOREIGN = ("mcp.task_foreign", HTTPStatus.BAD_GATEWAY)
    MCP_TOOL_LIST_MALFORMED = ("mcp.tool_list_malformed", HTTPStatus.BAD_GATEWAY)
    MCP_PARAM_HEADER_SCHEMA = ("mcp.param_header_schema", HTTPStatus.BAD_GATEWAY)
    SSE_MALFORMED = ("mcp.sse_malformed", HTTPStatus.BAD_GATEWAY)
    SSE_TOO_LARGE = ("mcp.sse_too_large", HTTPStatus.BAD_GATEWAY)
    MCP_LINE_TOO_LONG = ("mcp.line_too_long", HTTPStatus.BAD_GATEWAY)

    # -- federation: bundles of other trust domains ----------------------------------------------------------
    FEDERATION_RELATIONSHIP = ("federation.relationship", HTTPStatus.INTERNAL_SERVER_ERROR)
    FEDERATION_BOOTSTRAP = ("federation.bootstrap", HTTPStatus.SERVICE_UNAVAILABLE)
    FEDERATION_BUNDLE_FILE = ("federation.bundle_file", HTTPStatus.INTERNAL_SERVER_ERROR)
    FEDERATION_CERTIFICATE = ("federation.certificate", HTTPStatus.INTERNAL_SERVER_ERROR)
    FEDERATION_UNREACHABLE = ("federation.unreachable", HTTPStatus.SERVICE_UNAVAILABLE)
    FEDERATION_ENDPOINT = ("federation.endpoint", HTTPStatus.FORBIDDEN)
    FEDERATION_ANSWER = ("federation.answer", HTTPStatus.BAD_GATEWAY)
    FEDERATION_STALE = ("federation.stale", HTTPStatus.SERVICE_UNAVAILABLE)

    # -- dev: the embedded SPIFFE provider -------------------------------------------------------------------
    DEV_NO_IDENTITY = ("dev.no_identity", HTTPStatus.FORBIDDEN)
    DEV_REGISTRATION = ("dev.registration", HTTPStatus.INTERNAL_SERVER_ERROR)
    DEV_FOREIGN_TRUST_DOMAIN = ("dev.foreign_trust_domain", HTTPStatus.INTERNAL_SERVER_ERROR)
    DEV_LIFETIME = ("dev.lifetime", HTTPStatus.INTERNAL_SERVER_ERROR)
    DEV_FOLDER = ("dev.folder", HTTPStatus.INTERNAL_SERVER_ERROR)
    DEV_SOCKET = ("dev.socket", HTTPStatus.INTERNAL_SERVER_ERROR)
    JWT_SVID_MALFORMED = ("jwt_svid.malformed", HTTPStatus.BAD_REQUEST)
    JWT_SVID_ALGORITHM = ("jwt_svid.algorithm", HTTPStatus.FORBIDDEN)
    JWT_SVID_KEY_UNKNOWN = ("jwt_svid.key_unknown", HTTPStatus.FORBIDDEN)
    JWT_SVID_SIGNATURE = ("jwt_svid.signature", HTTPStatus.FORBIDDEN)
    JWT_SVID_SUBJECT = ("jwt_svid.subject", HTTPStatus.FORBIDDEN)
    JWT_SVID_AUDIENCE = ("jwt_svid.audience", HTTPStatus.FORBIDDEN)
    JWT_SVID_EXPIRED = ("jwt_svid.expired", HTTPStatus.FORBIDDEN)

    # -- policy: a refusal by policy is an answer (200 with a JSON-RPC error), not a failure of HTTP ---------
    POLICY_DENIED = ("policy.denied", HTTPStatus.OK)
    POLICY_UNDEFINED = ("policy.undefined", HTTPStatus.OK)
    POLICY_ERROR = ("policy.error", HTTPStatus.OK)
    POLICY_DECISION_MALFORMED = ("policy.decision_malformed", HTTPStatus.OK)
    POLICY_OBLIGATION_UNKNOWN = ("policy.obligation_unknown", HTTPStatus.OK)
    POLICY_INPUT_TEXT = ("policy.input_text", HTTPStatus.OK)
    POLICY_INPUT_NUMBER = ("policy.input_number", HTTPStatus.OK)
    POLICY_INPUT_TYPE = ("policy.input_type", HTTPStatus.OK)
    POLICY_INPUT_SIZE = ("policy.input_size", HTTPStatus.OK)
    POLICY_INVALID = ("policy.invalid", HTTPStatus.INTERNAL_SERVER_ERROR)

    # -- audit -----------------------------------------------------------------------------------------------
    AUDIT_UNAVAILABLE = ("audit.unavailable", HTTPStatus.SERVICE_UNAVAILABLE)

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
