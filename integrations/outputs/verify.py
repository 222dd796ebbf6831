"""Says what no validator says of the outputs in a folder: that they hold what the report holds, and that
nothing in a hostile report becomes a test, a metric, an element or a link."""

import base64
import hashlib
import json
import pathlib
import re
import sys
import unicodedata
import xml.etree.ElementTree
from html.parser import HTMLParser

import jsonschema

folder = pathlib.Path(sys.argv[1])
reports = {
    path.stem: json.loads(path.read_text()) for path in folder.glob("*.json") if "." not in path.stem
}
assert set(reports) >= {"ready", "not-ready", "strict", "image", "pending", "unknown", "hostile"}, set(
    reports
)
NAGIOS = {
    "ready": (0, 1),
    "not-ready": (2,),
    "strict": (2,),
    "image": (2,),
    "pending": (1,),
    "unknown": (3,),
    "hostile": (2,),
}


def say(text):
    print(text, file=sys.stderr)


def rows(report):
    return [row for row in report["checks"] if row.get("reason") != "not selected"]


def worth(row):
    """The README's table, once more and independently."""
    if row["status"] in ("pass",):
        return "met"
    if row["status"] in ("skip", "ignored"):
        return "left"
    if row["level"] == "advised":
        return "advised"
    return "missing" if row["status"] == "fail" else "doubt"


def count(report, *words):
    return sum(worth(row) in words for row in rows(report))


class Elements(HTMLParser):
    """The elements and links of a page."""

    def __init__(self, text):
        super().__init__()
        self.names, self.attributes, self.content = set(), set(), {}
        self.open = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        self.attributes.update((tag, name, value) for name, value in attrs)
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if self.open:
            self.content[self.open[-1]] = self.content.get(self.open[-1], "") + data


for path in folder.iterdir():
    if path.suffix in (".xml", ".tap", ".sarif", ".prom", ".txt", ".md", ".html"):
        text = path.read_text()
        assert text, f"{path.name} is empty"
        bad = {
            hex(ord(c))
            for c in text
            if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Cn")
            and c != "\n"
            and not (c == "\u200b" and ".md" in path.name)
        }
        assert not bad, f"{path.name}: {bad}"
say("all: no control or format character gets through")

for name, report in reports.items():
    suite = xml.etree.ElementTree.parse(folder / f"{name}.xml").getroot().find("testsuite")
    cases = suite.findall("testcase")
    assert len(cases) == len(rows(report)) == int(suite.get("tests"))
    told = {kind: len(suite.findall(f"testcase/{kind}")) for kind in ("failure", "error", "skipped")}
    assert told == {
        "failure": count(report, "missing"),
        "error": count(report, "doubt"),
        "skipped": count(report, "advised", "left"),
    }, told
    assert int(suite.get("failures")) == told["failure"] and int(suite.get("errors")) == told["error"]
    assert {element.tag for element in suite.iter()} <= {
        "testsuite",
        "properties",
        "property",
        "testcase",
        "failure",
        "error",
        "skipped",
        "system-out",
    }
    if name != "hostile":
        assert len({(case.get("classname"), case.get("name")) for case in cases}) == len(
            cases
        ), "names repeat"
assert reports["ready"]["timestamp"] and "timestamp=" in (folder / "ready.xml").read_text()
say("junit: a case for each row, with the result of the table")

for name, report in reports.items():
    events = json.loads((folder / f"{name}.tap.json").read_text())
    final = next(event[1] for event in events if event[0] == "complete")
    assert final["count"] == final["plan"]["end"] == len(rows(report)), (name, final)
    assert final["fail"] - final["todo"] == count(report, "missing", "doubt"), (name, final)
    assert final["todo"] == count(report, "advised") and final["skip"] == count(report, "left"), (
        name,
        final,
    )
    assert not final["bailout"], name
    assert final["ok"] == (count(report, "missing", "doubt") == 0), name
    tests = [event[1] for event in events if event[0] == "assert"]
    told = [test for test in tests if not test["ok"]]
    assert all("message" in test["diag"] for test in told), "the YAML of a diagnostic is not understood"
    extra = [event for event in events if event[0] == "extra" and event[1].strip()]
    assert not extra, (name, extra[:3])
    proved = (folder / f"{name}.tap.prove").read_text()
    assert ("Result: PASS" in proved) == final["ok"], proved[-500:]
    assert "Parse errors" not in proved, proved[-500:]
say("tap: tap-parser and TAP::Parser agree with the table, and read the YAML")

schema = jsonschema.Draft7Validator(
    json.loads(pathlib.Path(sys.argv[2]).read_text()),
    format_checker=jsonschema.Draft7Validator.FORMAT_CHECKER,
)
for path in folder.glob("*.sarif"):
    wrong = [error.message for error in schema.iter_errors(json.loads(path.read_text()))]
    assert bool(wrong) == (path.stem == "broken"), (path.name, wrong[:3])
validated = json.loads((folder / "validated.log").read_text())
results = [result for run in validated["runs"] for result in run.get("results", [])]
errors = [result for result in results if result.get("level") == "error"]
files = {
    result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].split("/")[-1]
    for result in errors
}
assert files == {"broken.sarif"}, (files, [(error["ruleId"], error["message"]) for error in errors[:3]])
failures = [
    n
    for run in validated["runs"]
    for i in run.get("invocations", [])
    for n in i.get("toolExecutionNotifications", [])
    if n.get("level") == "error"
]
assert not failures, failures[:3]
for name, report in reports.items():
    run = json.loads((folder / f"{name}.sarif").read_text())["runs"][0]
    results = run["results"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert len(set(rules)) == len(rules) and {result["ruleId"] for result in results} <= set(rules)
    told = {
        result["ruleId"] for result in results if result["kind"] == "fail" and "suppressions" not in result
    }
    wanted = {row["id"] for row in report["checks"] if row["status"] == "fail"}
    assert name == "hostile" or told == wanted, told ^ wanted
    prints = [result["partialFingerprints"]["edgeprep/v1"] for result in results]
    assert name == "hostile" or len(set(prints)) == len(prints), "fingerprints repeat"
    for result in results:
        assert result["locations"], result
        for place in result["locations"] + result.get("relatedLocations", []):
            uri = place["physicalLocation"]["artifactLocation"]["uri"]
            assert re.fullmatch(r"(\./|[A-Za-z0-9/._~@+%-]+)", uri), uri
            assert not uri.startswith("/") and ".." not in uri.split("/"), uri
assert any(
    "suppressions" in result
    for result in json.loads((folder / "image.sarif").read_text())["runs"][0]["results"]
), "--ignore suppresses"
lines = [
    result["locations"][0]["physicalLocation"]
    for result in json.loads((folder / "not-ready.sarif").read_text())["runs"][0]["results"]
]
assert any(place.get("region", {}).get("startLine") for place in lines), "no line at all"
say("sarif: the schema holds, and sarif-multitool finds no error but in the log that was broken on purpose")

for name, report in reports.items():
    line = (folder / f"{name}.txt").read_text()
    assert line.count("\n") == 1 and line.endswith("\n") and line.count("|") == 1, line
    match = re.fullmatch(r"EDGEPREP (OK|WARNING|CRITICAL|UNKNOWN) - ([^|\n]+) \| (.*)\n", line)
    assert match and ["OK", "WARNING", "CRITICAL", "UNKNOWN"].index(match[1]) in NAGIOS[name], line
    assert not set(match[2]) & set("`$<>&;\"'\\|*!{}[]~#") - {";"}, line
    data = dict(re.fullmatch(r"(\w+)=(\d+);\d*;\d*;0", part).groups() for part in match[3].split())
    assert int(data["required"]) == count(report, "missing") and int(data["passed"]) == count(
        report, "met"
    ), line
    assert len(line) < 8192
say("nagios: one line, one bar, and data that a plugin may have")

MARKDOWN = {"h2", "h3", "p", "ul", "li", "code", "pre", "details", "summary", "strong"}
for name, report in reports.items():
    page = Elements((folder / f"{name}.md.html").read_text())
    assert page.names <= MARKDOWN, (name, page.names - MARKDOWN)
    allowed = {("details", "open"), ("code", "class")}
    assert {(tag, key) for tag, key, _ in page.attributes} <= allowed, (name, page.attributes)
    assert len((folder / f"{name}.md").read_bytes()) < 65536
    plain = re.sub(r"(`+)(?:.|\n)*?\1|<code>.*?</code>", "", (folder / f"{name}.md").read_text())
    assert not re.search(r"[@#]\w", plain), re.search(r".{20}[@#]\w.{20}", plain)
say("markdown: markdown-it makes no link, no image and no element of what a host says; nobody is mentioned")

HTML = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "main",
    "footer",
    "h1",
    "h2",
    "h3",
    "p",
    "ul",
    "li",
    "code",
    "pre",
    "details",
    "summary",
    "dl",
    "dt",
    "dd",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "span",
    "a",
    "article",
}
for name in reports:
    text = (folder / f"{name}.html").read_text()
    page = Elements(text)
    assert page.names <= HTML, (name, page.names - HTML)
    assert all(value.startswith("#c") for _, key, value in page.attributes if key == "href")
    assert not [
        key for _, key, _ in page.attributes if key.startswith("on") or key in ("src", "style", "srcset")
    ]
    policy = next(
        value for tag, key, value in page.attributes if key == "content" and "default-src" in value
    )
    digest = base64.b64encode(hashlib.sha256(page.content["style"].encode()).digest()).decode()
    assert (
        policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    ), policy
    assert not re.search(r"url\(|@import|https?:", page.content["style"])
    assert len(re.findall(r"<h1[ >]", text)) == 1


def luminance(color):
    channels = [
        int(c * 2 if len(color) == 3 else c, 16) / 255
        for c in (color if len(color) == 3 else re.findall("..", color))
    ]
    red, green, blue = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


style = page.content["style"]
light, dark = style.split("prefers-color-scheme: dark")
worst = 21.0
for theme in (light, dark):
    colors = dict(re.findall(r"--([\w-]+): #([0-9a-f]{3,6})", theme))
    for text, grounds in {
        "text": ["ground", "raised", "calm-ground"],
        "soft": ["ground", "raised"],
        "link": ["ground", "raised"],
        "good": ["good-ground"],
        "bad": ["bad-ground"],
        "warn": ["warn-ground"],
        "calm": ["calm-ground"],
    }.items():
        for ground in grounds:
            one, other = sorted((luminance(colors[text]), luminance(colors[ground])))
            worst = min(worst, (other + 0.05) / (one + 0.05))
            assert worst >= 4.5, (text, ground, worst)
say(
    f"html: loads nothing, its policy allows its own style alone, and the least contrast is {worst:.1f} (AA: 4.5)"
)
