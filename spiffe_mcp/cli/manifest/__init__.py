"""`spiffe-mcp manifest`: what a publisher of tools signs, and what an operator checks.

Enters: options and files. Leaves: files, text and exit codes: 0 done or verified, 1 refused (a `Refused` that
`main` reports) or found wanting, 2 not usable as asked (options, files, keys, trust policy). Every decision
is made in `spiffe_mcp.manifest`; these modules read and print.
"""

from typing import Final

import typer

from spiffe_mcp.cli.manifest.keygen import keygen
from spiffe_mcp.cli.manifest.lint import lint_command
from spiffe_mcp.cli.manifest.sign import sign_command
from spiffe_mcp.cli.manifest.verify import verify_command

app: Final = typer.Typer(help="Sign and verify tool manifests.", no_args_is_help=True, add_completion=False)
app.command("keygen")(keygen)
app.command("lint")(lint_command)
app.command("sign")(sign_command)
app.command("verify")(verify_command)
