"""Whom the central gateway reaches through `k8s/networkpolicy`, by address."""

from ipaddress import ip_address, ip_network

import pytest
from rendered import one


@pytest.mark.parametrize(
    ("address", "ports"),
    [
        ("203.0.113.7", {443}),
        ("2001:db8::7", {443}),
        ("169.254.20.10", {53}),  # NodeLocal DNSCache: of the node, so no selector of pods finds it
        ("169.254.169.254", {53}),  # Cloud DNS of GKE; and, on other ports, keys of the node
        ("169.254.170.2", set()),
        ("fd00:ec2::254", set()),
    ],
)
def test_the_gateway_reaches_providers_and_names_and_no_metadata(address, ports):
    found = set()
    for rule in one("networkpolicy", "NetworkPolicy")["spec"]["egress"]:
        blocks = [each["ipBlock"] for each in rule["to"] if "ipBlock" in each]
        if any(
            ip_address(address) in ip_network(block["cidr"])
            and all(ip_address(address) not in ip_network(out) for out in block.get("except", ()))
            for block in blocks
        ):
            found |= {each["port"] for each in rule["ports"]}
    assert found == ports
