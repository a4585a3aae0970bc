"""Validate a crate with roc-validator, in a process that finds the JSON-LD context of RO-Crate without a network.

    python validate_crate.py CRATE CONTEXT PROFILE

CONTEXT is the context file that the library rocrate brings. Prints one JSON object: {"passed": ..., "issues": [...]}.
"""

import email.message
import io
import json
import sys
import urllib.request
from typing import Any
from urllib.response import addinfourl

import requests
import urllib3
from rocrate_validator import models, services

CONTEXT = "https://w3id.org/ro/crate/"
BIOSCHEMAS = "https://bioschemas.org/"
# The library brings the context of version 1.3, in which these have other addresses than in 1.1.
TERMS = {
    "ComputationalWorkflow": "ComputationalWorkflow",
    "FormalParameter": "FormalParameter",
    "input": "ComputationalWorkflow#input",
    "output": "ComputationalWorkflow#output",
}


def main(crate: str, context: str, profile: str) -> None:
    with open(context, "rb") as handle:  # noqa: PTH123 (the validator's environment, not the suite's)
        document = json.load(handle)
    document["@context"].update({name: BIOSCHEMAS + place for name, place in TERMS.items()})
    text = json.dumps(document).encode()
    whole = urllib.request.OpenerDirector.open
    sends = requests.adapters.HTTPAdapter.send

    def opened(self: Any, url: Any, *rest: Any, **options: Any) -> Any:
        address = url if isinstance(url, str) else url.full_url
        if not address.startswith(CONTEXT):
            return whole(self, url, *rest, **options)
        headers = email.message.Message()
        headers["Content-Type"] = "application/ld+json"
        return addinfourl(io.BytesIO(text), headers, address, 200)

    def sent(self: Any, request: Any, *rest: Any, **options: Any) -> Any:
        if not request.url.startswith(CONTEXT):
            return sends(self, request, *rest, **options)
        headers = {"Content-Type": "application/ld+json"}
        raw = urllib3.HTTPResponse(io.BytesIO(text), headers, 200, preload_content=False, request_url=request.url)
        return self.build_response(request, raw)

    urllib.request.OpenerDirector.open = opened  # type: ignore[method-assign]
    requests.adapters.HTTPAdapter.send = sent  # type: ignore[method-assign]
    settings = services.ValidationSettings(
        rocrate_uri=crate,
        profile_identifier=profile,
        requirement_severity=models.Severity.REQUIRED,
        abort_on_first=False,
    )
    result = services.validate(settings)
    issues = [f"{issue.check.identifier}: {issue.message}" for issue in result.get_issues()]
    print(json.dumps({"passed": result.passed(), "issues": issues}))


if __name__ == "__main__":
    main(*sys.argv[1:])
