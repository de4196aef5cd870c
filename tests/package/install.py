"""The wheel in an empty environment, as a user gets it: `make package` runs this, with the wheel's path.

Light: the quick start on the demo's checkpoint, no torch. `convert`, where OCTAVO_CONVERT is set (it fetches torch):
the same against the original in torch.
"""

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(*command: object, cwd: Path) -> str:
    print("$", *command, file=sys.stderr)
    done = subprocess.run([str(word) for word in command], cwd=cwd, check=True, capture_output=True, text=True)
    return done.stdout


def main(wheel: str) -> None:
    path = Path(wheel).resolve()
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        venv.create(here / "env", with_pip=True)
        octavo, python = here / "env/bin/octavo", here / "env/bin/python"
        extra = "[convert]" if os.environ.get("OCTAVO_CONVERT") else ""
        pip = (python, "-m", "pip", "install", "-q", "--disable-pip-version-check")
        run(*pip, "--constraint", ROOT / "constraints.txt", f"{path}{extra}", cwd=here)
        run(octavo, "--help", cwd=here)
        run(octavo, "doctor", cwd=here)
        run(octavo, "inspect", ROOT / "tests/artifact/made-by-0.1.0", "--verify", cwd=here)
        nli = ROOT / "examples/korean-nli"
        run(octavo, "quantize", nli, "--method", "float", "--method", "dynamic", "-o", "out", cwd=here)
        baseline = nli if extra else "out/float"
        run(octavo, "compare", baseline, "out/dynamic", "--data", nli / "pairs.tsv", "--max-drop", "3", cwd=here)
        (here / "pairs.txt").write_text("비가 온다.\t날씨가 맑다.\n", encoding="utf-8")
        assert "label" in json.loads(run(octavo, "predict", "out/dynamic", "pairs.txt", cwd=here))
        found = run(python, "-c", "import importlib.util as u; print(u.find_spec('torch') is not None)", cwd=here)
        assert found.strip() == str(bool(extra))
    print(f"{path.name}{extra}: installs and runs")


if __name__ == "__main__":
    main(sys.argv[1])
