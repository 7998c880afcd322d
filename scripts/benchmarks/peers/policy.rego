# A policy of the size that people begin with: rules about action, risk, groups and an argument.
package mcp.authz

import rego.v1

default decision := {"allow": false, "rule": "default", "reason": "nothing grants this call"}

decision := {"allow": true, "rule": "protocol", "reason": "part of the protocol"} if {
	input.action in {"initialize", "notifications/initialized", "ping", "server/discover", "tools/list"}
}

decision := {"allow": true, "rule": "analysts_read", "reason": "analysts may use tools of low risk"} if {
	input.action == "tools/call"
	input.tool.risk_level == "low"
	is_analyst
	not is_forbidden
}

is_forbidden if contains(input.arguments.text, "drop table")

visible_tools contains tool.name if {
	some tool in input.tools
	is_analyst
}

is_analyst if "analysts" in input.user.groups
