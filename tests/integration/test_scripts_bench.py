"""`scripts/bench`: the smallest one measures real calls through real processes."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "scripts" / "bench"
MISSING = ", ".join(name for name in ("wrk", "nginx", "go") if shutil.which(name) is None)


@pytest.mark.skipif(bool(MISSING), reason=f"not on PATH: {MISSING}")
def test_the_smallest_benchmark_compares_the_mesh_with_nginx(tmp_path: Path) -> None:
    written = tmp_path / "bench.json"
    command = [str(BENCH), "--quick", "--rounds", "1", "--seconds", "1", "--json", str(written)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 0, ran.stderr
    document = json.loads(written.read_text())
    assert {"throughput_16", "added_p50_1"} <= document["ratios"].keys()
    measured = {(point["target"], point["connections"]) for point in document["points"]}
    assert measured == {(name, number) for name in ("direct", "nginx", "mesh") for number in (1, 16)}
    assert all(point["calls_per_second"] > 0 for point in document["points"])
    assert "| this mesh, everything on | 16 |" in ran.stdout
