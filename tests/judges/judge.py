"""Runs scim2-tester, by itself and as `scim2 test`, and scim-sanity against a live server and reports
what they fault.

The instance behind the token should be empty: the suites look for what they made on the first page
of a list.
"""

import os
import pprint
import random
import re
import subprocess
import sys
from pathlib import Path

from httpx2 import Client
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_models import Mutability
from scim2_tester import Status, check_server
from scim_sanity.probe.runner import run_probe_api

from local import arguments

TIMEOUT_S = 30
PASSED = (Status.SUCCESS, Status.COMPLIANT, Status.ACCEPTABLE)
REQUIRED_RESOURCE_TYPES = {"User", "Group"}
PATCH_CHECKS = {"check_add_attribute", "check_remove_attribute", "check_replace_attribute"}


class Report:
    """What one suite found."""

    def __init__(self, suite):
        self.suite = suite
        self.passed = 0
        self.faults = []
        self.excused = []
        self.skipped = []

    def print(self):
        print(
            f"{self.suite}: {self.passed} passed, {len(self.faults)} failed, "
            f"{len(self.excused)} excused, {len(self.skipped)} skipped"
        )
        for word, texts in (
            ("SKIPPED", self.skipped),
            ("EXCUSED", self.excused),
            ("FAILED", self.faults),
        ):
            for text in texts:
                print(f"  {word} " + text.replace("\n", "\n    "))


def read_only_extensions(provider):
    """The URNs of the extensions in which a client can write nothing."""
    urns = set()
    for resource_type in provider.resource_types:
        model = provider.model_for(resource_type)
        for urn, extension in model.get_extension_models().items():
            attributes = set(extension.model_fields) - {"schemas"}
            mutability = {extension.get_field_annotation(name, Mutability) for name in attributes}
            if mutability == {Mutability.read_only}:
                urns.add(str(urn))
    return urns


def is_excused(title, reason, read_only):
    """What scim2-tester faults and scimd means.

    It patches every extension as a whole, even one with read-only attributes alone, and then expects
    to read back the empty value it wrote. RFC 7644 §3.5.2 refuses such a PATCH.

    It takes `active` away and expects an answer without it. RFC 7643 §4.1.1 leaves the meaning of
    `active` to the server: whether a person may enter is always said, or a disabled one would look
    like any other.
    """
    if title == "check_remove_attribute" and reason.endswith("'active'"):
        return True
    return title in PATCH_CHECKS and any(f"'{urn}'" in reason for urn in read_only)


def connect(url, token):
    headers = {"Authorization": f"Bearer {token}"}
    return Client(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False)


def judge_with_scim2_tester(url, token):
    report = Report("scim2-tester")
    with connect(url, token) as http:
        client = SyncSCIMClient(http)
        results = check_server(client)
        read_only = read_only_extensions(client.provider)

    for result in results:
        subject = f"{result.resource_type}: " if result.resource_type else ""
        text = f"{subject}{result.title}: {result.reason}"
        if result.status in PASSED:
            report.passed += 1
        elif result.status == Status.SKIPPED:
            report.skipped.append(text)
        elif is_excused(result.title, result.reason, read_only):
            report.excused.append(text)
        else:
            if result.data is not None:
                text += "\n" + pprint.pformat(result.data, width=100)
            report.faults.append(f"{result.status.name} {text}")

    # The suite stops quietly when discovery fails, and tests only what discovery names.
    tested = {result.resource_type for result in results}
    for missing in sorted(REQUIRED_RESOURCE_TYPES - tested):
        report.faults.append(f"{missing} was never tested")
    return report


def judge_with_scim2_cli(url, token):
    """`scim2 test` asks what scim2-tester asks, through its own client and its own discovery, and
    fails on every skipped check: what it prints is read, not its exit code."""
    report = Report("scim2-cli")
    with connect(url, token) as http:
        client = SyncSCIMClient(http)
        client.discover()
        read_only = read_only_extensions(client.provider)
    said = subprocess.run(
        [Path(sys.executable).with_name("scim2"), "--url", url, "test"],
        env=os.environ | {"SCIM_CLI_HEADERS": f"Authorization: Bearer {token}", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    # Each result is a line with status and title; what follows until the next is its reason.
    statuses = "|".join(status.name for status in Status)
    parts = re.split(rf"^({statuses}) (\w+)$", said.stdout, flags=re.MULTILINE)[1:]
    for status, title, reason in zip(*[iter(parts)] * 3, strict=True):
        reason = reason.strip()
        text = f"{title}: {reason}"
        if Status[status] in PASSED:
            report.passed += 1
        elif Status[status] == Status.SKIPPED:
            report.skipped.append(text)
        elif is_excused(title, reason.partition("\n")[0], read_only):
            report.excused.append(text)
        else:
            report.faults.append(f"{status} {text}")
    if not report.passed:
        report.faults.append(f"nothing was tested\n{said.stdout}\n{said.stderr}")
    return report


def judge_with_scim_sanity(url, token):
    report = Report("scim-sanity")
    results = run_probe_api(url, token=token, strict=True, timeout=TIMEOUT_S)["results"]

    for result in results:
        text = f"{result.get('phase', '')}: {result['name']}: {result.get('message', '')}"
        if result.get("details"):
            text += f"\n{result['details']}"
        match result["status"]:
            case "pass":
                report.passed += 1
            case "skip":
                report.skipped.append(text)
            # A warning is a deviation from the RFC that the suite forgives; here none is known.
            case status:
                report.faults.append(f"{status.upper()} {text}")

    passed = {result["name"] for result in results if result["status"] == "pass"}
    for resource_type in sorted(REQUIRED_RESOURCE_TYPES):
        if f"POST /{resource_type}s" not in passed:
            report.faults.append(f"{resource_type} was not created, so never tested")
    return report


def main():
    url, token, seed = arguments()
    # scim2-tester draws its values: the seed repeats those it does not take from the system.
    random.seed(seed)

    faults = 0
    for judge in (judge_with_scim2_tester, judge_with_scim2_cli, judge_with_scim_sanity):
        report = judge(url, token)
        report.print()
        faults += len(report.faults)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
