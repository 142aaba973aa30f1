"""Judges the OpenAPI description of a live server: openapi-spec-validator says whether it is one,
schemathesis whether the server does what it says.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from httpx2 import Client
from openapi_spec_validator import OpenAPIV31SpecValidator

from local import arguments

CONFIGURATION = Path(__file__).with_name("schemathesis.toml").resolve()
TIMEOUT_S = 30


def faults_of_description(url):
    with Client(timeout=TIMEOUT_S, trust_env=False) as http:
        description = http.get(url).raise_for_status().json()
    faults = [
        f"{'/'.join(map(str, error.absolute_path))}: {error.message}"
        for error in OpenAPIV31SpecValidator(description).iter_errors()
    ]
    print(f"openapi-spec-validator: {len(faults)} failed")
    for fault in faults:
        print(f"  FAILED {fault}")
    return faults


def judge_with_schemathesis(url, token, seed):
    """What schemathesis writes into its folder goes with the folder: no run depends on another."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION)]
        command += ["run", url, "--seed", str(seed), "--continue-on-failure", "--no-color"]
        environment = os.environ | {"JUDGES_TOKEN": token}
        return subprocess.run(command, cwd=folder, env=environment, check=False).returncode


def main():
    url, token, seed = arguments()
    faults = faults_of_description(url)
    sys.stdout.flush()
    sys.exit(1 if faults else judge_with_schemathesis(url, token, seed))


if __name__ == "__main__":
    main()
