# Who may use the demo's accounting tools. Whatever no rule grants is refused.
package mcp.authz

import rego.v1

default decision := {"allow": false, "rule": "default", "reason": "nothing grants this call"}

# The calls of the protocol itself: finding out what there is.
decision := {"allow": true, "rule": "protocol", "reason": "part of the protocol"} if {
	input.action in {
		"initialize", "notifications/initialized", "notifications/cancelled",
		"ping", "server/discover", "session/answer", "session/end", "session/listen",
		"tools/list",
	}
	input.direction == "client_to_server"
}

# The other way round: a server may see whether its client is there, and nothing else. To let it ask for input or
# for a sample, allow "elicitation/create" or "sampling/createMessage" here, and "session/answer" above.
decision := {"allow": true, "rule": "server_pings", "reason": "part of the protocol"} if {
	input.direction == "server_to_client"
	input.action == "ping"
}

decision := {"allow": true, "rule": "analysts_read", "reason": "analysts may use tools of low risk"} if {
	input.action == "tools/call"
	input.tool.risk_level == "low"
	is_analyst
}

decision := {
	"allow": false,
	"rule": "payments",
	"reason": "payments are for approvers",
	"visibility": "offered",
	"message": "Paying needs the group 'approvers'; ask your manager.",
} if {
	input.action == "tools/call"
	input.tool.name == "approve_payment"
	not is_approver
}

# Shown to analysts: what they may call, and what they may ask for.
visible_tools contains tool.name if {
	some tool in input.tools
	is_analyst
}

is_analyst if "analysts" in input.user.groups

is_approver if "approvers" in input.user.groups
