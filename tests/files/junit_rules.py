"""Reads a JUnit report as CI systems do, and holds it to the rules of the common schema. Prints it as JSON."""

import json
import re
import sys
import xml.etree.ElementTree as ElementTree

ATTRIBUTES = {
    "testsuites": {"name", "tests", "failures", "errors", "skipped", "time"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname", "id"},
    "properties": set(),
    "property": {"name", "value"},
    "testcase": {"name", "classname", "time"},
    "failure": {"type", "message"},
    "error": {"type", "message"},
    "skipped": {"message"},
    "system-out": set(),
}
CHILDREN = {
    "testsuites": ["testsuite"],
    "testsuite": ["properties", "testcase"],
    "properties": ["property"],
    "testcase": ["skipped", "error", "failure", "system-out"],
}
NUMBER = re.compile(r"\d+(\.\d+)?")


def hold(node):
    assert node.tag in ATTRIBUTES, node.tag
    assert set(node.attrib) <= ATTRIBUTES[node.tag], (node.tag, node.attrib)
    for name in ("tests", "failures", "errors", "skipped", "time"):
        assert name not in node.attrib or NUMBER.fullmatch(node.get(name)), (node.tag, node.attrib)
    allowed = CHILDREN.get(node.tag, [])
    places = [allowed.index(child.tag) for child in node]
    assert places == sorted(places), (node.tag, [child.tag for child in node])
    for child in node:
        hold(child)


root = ElementTree.parse(sys.argv[1]).getroot()
assert root.tag == "testsuites"
hold(root)
for suite in root:
    cases = suite.findall("testcase")
    count = lambda tag: str(sum(case.find(tag) is not None for case in cases))
    for holder in (root, suite):
        assert holder.get("tests") == str(len(cases)), "tests"
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert holder.get(name) == count(tag), name
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp"))
    for case in cases:
        assert sum(case.find(tag) is not None for tag in ("failure", "error", "skipped")) <= 1
        assert case.get("name") and case.get("classname")

print(json.dumps({
    "suite": root[0].attrib,
    "properties": {one.get("name"): one.get("value") for one in root[0].iter("property")},
    "cases": {
        case.get("name"): {child.tag: {**child.attrib, "text": child.text} for child in case}
        for case in root[0].findall("testcase")
    },
}))
