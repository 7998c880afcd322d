"""Makes the Python code of the protobuf definitions below spiffe_mcp/identity/sources/proto."""  # noqa: INP001  scripts are no package

import sys
from pathlib import Path
from typing import Final

from grpc_tools import protoc

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = Path("spiffe_mcp/identity/sources/proto")


def make(out: Path) -> int:
    """Write the code below `out`; returns protoc's exit code."""
    # Named by their path from the checkout: protobuf keeps one register of file names for a whole process.
    definitions = [str(path.relative_to(ROOT)) for path in sorted((ROOT / FOLDER).glob("*.proto"))]
    googles = Path(protoc.__file__).with_name("_proto")
    options = [f"--proto_path={ROOT}", f"--proto_path={googles}", f"--python_out={out}", f"--pyi_out={out}"]
    return int(protoc.main(["protoc", *options, *definitions]))


if __name__ == "__main__":
    sys.exit(make(ROOT))
