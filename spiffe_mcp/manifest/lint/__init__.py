"""What a careful reader would stop at, before a publisher signs: tool poisoning and plain mistakes. Pure.

    lint(tools, instructions) -> findings; each has a rule, the tool, a place and the words that were found

A finding is a question to a person, never a refusal: what may not be signed at all is `definition`'s and
`text`'s decision. A linter that knows some bad words knows not all of them; it helps the review that a
signature stands for, and does not replace it.

Modules, lowest first: `finding` (the rules and what breaks one), `wording` (one text), `reach` (how much a
schema admits), `listing` (all of a server's tools).
"""

from spiffe_mcp.manifest.lint.finding import Finding, Rule, Severity
from spiffe_mcp.manifest.lint.listing import lint

__all__ = ["Finding", "Rule", "Severity", "lint"]
