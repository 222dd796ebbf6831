//! The output formats: of a check and of its saved report alike, and of a hostile report, of which nothing may
//! get out of its place. The real readers of each format are asked in integrations/outputs/test.
#![expect(clippy::disallowed_methods, reason = "tests make files and start the binary")]
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod common;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use common::{command, edgeprep, fixture, stderr, stdout};
use serde_json::{Value, json};
use tempfile::TempDir;

const FORMATS: [&str; 9] =
    ["human", "json", "junit", "tap", "sarif", "prometheus", "nagios", "markdown", "html"];

fn hostile() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/reports/hostile.json")
}

fn report(file: &Path, args: &[&str]) -> Output {
    edgeprep(&[&["report", file.to_str().unwrap()], args].concat())
}

/// The hostile report in a format.
fn of_hostile(format: &str) -> String {
    let output = report(&hostile(), &["--format", format]);
    assert_eq!(output.status.code(), Some(if format == "nagios" { 2 } else { 1 }), "{}", stderr(&output));
    stdout(&output)
}

/// Writes a changed copy of the hostile report.
fn changed(folder: &TempDir, change: impl FnOnce(&mut Value)) -> PathBuf {
    let mut value: Value = serde_json::from_slice(&fs::read(hostile()).unwrap()).unwrap();
    change(&mut value);
    let file = folder.path().join("report.json");
    fs::write(&file, value.to_string()).unwrap();
    file
}

#[test]
fn a_saved_report_shows_what_the_check_showed() {
    let folder = TempDir::new().unwrap();
    let saved = folder.path().join("report.json");
    for (name, args) in [
        ("debian-13", &["--stack", "podman,k3s"][..]),
        ("debian-13", &["--stack", "podman", "--timestamp"]),
        ("debian-13", &["--stack", "k3s", "--profile", "generic-x86_64"]),
        ("debian-13-no-memory", &["--stack", "podman,kind", "--strict"]),
        ("debian-12-cgroup-v1", &["--ignore", "cgroup-*"]),
    ] {
        let capture = fixture(name);
        let check = |more: &[&str]| {
            edgeprep(&[&["check", "--capture", capture.to_str().unwrap()], args, more].concat())
        };
        fs::write(&saved, &check(&["--format", "json"]).stdout).unwrap();
        for format in FORMATS {
            for more in [&[][..], &["-v"], &["-q"]] {
                if !more.is_empty() && format != "human" {
                    continue;
                }
                let more = &[&["--format", format], more].concat()[..];
                let (one, other) = (check(more), report(&saved, more));
                if args.contains(&"--timestamp")
                    && ["json", "junit", "sarif", "prometheus", "html"].contains(&format)
                {
                    assert!(stdout(&other).len().abs_diff(stdout(&one).len()) < 3, "{format}");
                } else {
                    assert_eq!(stdout(&other), stdout(&one), "{name} {more:?}");
                }
                assert_eq!(other.status.code(), one.status.code(), "{name} {more:?}: {}", stderr(&other));
            }
        }
    }
}

#[test]
fn standard_input_is_a_file_and_output_goes_to_one() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out.xml");
    let mut child = command(&["report", "-", "--format", "junit", "-o", out.to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&fs::read(hostile()).unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stdout(&output)), (Some(1), String::new()));
    assert_eq!(fs::read_to_string(out).unwrap(), of_hostile("junit"));
}

#[test]
fn json_is_as_it_was_saved() {
    assert_eq!(of_hostile("json"), fs::read_to_string(hostile()).unwrap());
    assert!(of_hostile("json").contains("\"later\""), "also what this edgeprep does not know");
}

#[test]
fn what_is_no_report_is_named_with_its_place() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("r.json");
    let whole = fs::read_to_string(hostile()).unwrap();
    let half = whole.lines().take(40).collect::<Vec<_>>().join("\n");
    let other = whole.replacen("edgeprep.report/1", "edgeprep.report/2", 1);
    for (content, told) in [
        ("", "r.json: is empty"),
        (half.as_str(), "r.json: line 40: the end is missing: EOF"),
        (other.as_str(), "r.json: edgeprep.report/2: this edgeprep reads edgeprep.report/1"),
        ("{}", "r.json: is no report of edgeprep"),
        ("{\"schema\": \"\\u001b[31mx\"}", "r.json: is no report of edgeprep"),
        ("edgeprep 0.1.0\n", "r.json: line 1, column 1: not JSON"),
    ] {
        fs::write(&file, content).unwrap();
        let output = report(&file, &["--format", "html"]);
        assert_eq!((output.status.code(), stdout(&output)), (Some(2), String::new()), "{told}");
        assert!(stderr(&output).contains(told), "{told}: {}", stderr(&output));
        assert!(!stderr(&output).contains('\u{1b}'));
        let output = report(&file, &["--format", "nagios"]);
        assert_eq!(output.status.code(), Some(3), "for Nagios 2 is CRITICAL");
        assert!(stdout(&output).starts_with("EDGEPREP UNKNOWN - ") && stdout(&output).lines().count() == 1);
    }
    for (path, told) in [("/nonexistent.json", "/nonexistent.json: No such file"), ("/", "/: Is a directory")]
    {
        let output = report(Path::new(path), &[]);
        assert!(output.status.code() == Some(2) && stderr(&output).contains(told), "{}", stderr(&output));
    }
    let endless = report(Path::new("/dev/zero"), &[]);
    assert!(stderr(&endless).contains("has more than 8 MiB"), "{}", stderr(&endless));
}

#[test]
fn only_reports_have_all_the_formats() {
    for args in [&["detect"][..], &["fix", "--dry-run"], &["history"], &["undo"], &["diagnose", "/dev/null"]]
    {
        let output = edgeprep(&[args, &["--format", "junit"]].concat());
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains("[possible values: human, json]"), "{}", stderr(&output));
    }
}

#[test]
fn nagios_has_its_own_exit_codes() {
    let capture = fixture("debian-13");
    let check = |args: &[&str]| {
        let args = [&["check", "--format", "nagios", "--capture", capture.to_str().unwrap()], args].concat();
        let output = edgeprep(&args);
        (stdout(&output), output.status.code().unwrap())
    };
    for (args, word, code) in [
        (&["--stack", "podman", "--select", "cgroup-version"][..], "OK", 0),
        (&["--stack", "podman"], "WARNING", 1),
        (&["--stack", "k3s"], "CRITICAL", 2),
        (&["--stack", "podman", "--user", "nobody-of-that-name"], "UNKNOWN", 3),
    ] {
        let (line, found) = check(args);
        assert!(
            line.starts_with(&format!("EDGEPREP {word} - ")) && found == code,
            "{args:?}: {found} {line}"
        );
    }
}

#[test]
fn a_hostile_report_gets_no_control_character_through() {
    for format in FORMATS.into_iter().filter(|format| *format != "json") {
        let text = of_hostile(format);
        let marks =
            "\u{ad}\u{200e}\u{202a}\u{202e}\u{2028}\u{2029}\u{2066}\u{2069}\u{feff}\u{fffe}\u{ffff}\u{e0041}";
        let bad = text.chars().find(|&c| c != '\n' && (c.is_control() || marks.contains(c)));
        assert_eq!(bad, None, "{format}");
        assert!(
            text.contains("grüß") || ["prometheus", "nagios"].contains(&format),
            "{format}: what does no harm stays"
        );
        assert!(text.len() < 4 << 20, "{format}: {}", text.len());
    }
}

#[test]
fn a_hostile_report_in_junit() {
    let text = of_hostile("junit");
    let elements = [
        "?xml",
        "testsuites",
        "testsuite",
        "properties",
        "property",
        "testcase",
        "failure",
        "error",
        "skipped",
        "system-out",
    ];
    for part in text.split('<').skip(1) {
        let name: String = part.trim_start_matches('/').chars().take_while(|c| !" />".contains(*c)).collect();
        assert!(elements.contains(&name.as_str()), "{name}");
    }
    assert_eq!(text.matches("<testcase ").count(), 10);
    assert_eq!((text.matches("<failure ").count(), text.matches("<error ").count()), (3, 2));
    assert!(!text.contains("]]>") && !text.contains("-->"));
}

#[test]
fn a_hostile_report_in_tap() {
    let text = of_hostile("tap");
    let results: Vec<&str> = text
        .lines()
        .filter(|l| l.starts_with("ok") || l.starts_with("not ok") || l.starts_with("1.."))
        .collect();
    assert_eq!((results.len(), results[0]), (11, "1..10"));
    for line in &results[1..] {
        // What is not escaped is a directive: ours, after one space, and only one.
        let directives: Vec<&str> = line.match_indices(" # ").map(|(at, _)| &line[at..]).collect();
        assert!(directives.len() <= 1, "{line}");
        assert!(
            directives.iter().all(|d| d.starts_with(" # SKIP") || d.starts_with(" # TODO advised")),
            "{line}"
        );
    }
    let known = |line: &&str| {
        ["TAP", "1..", "# ", "ok ", "not ok ", "  "].iter().any(|start| line.starts_with(start))
    };
    assert!(text.lines().all(|line| known(&line)));
}

#[test]
fn a_hostile_report_in_sarif() {
    let log: Value = serde_json::from_str(&of_hostile("sarif")).unwrap();
    let run = &log["runs"][0];
    for result in run["results"].as_array().unwrap() {
        let text = result["message"]["text"].as_str().unwrap();
        let bare = text
            .replace("\\\\", "")
            .replace("\\[", "")
            .replace("\\]", "")
            .replace("{{", "")
            .replace("}}", "");
        assert!(!bare.contains(['[', ']', '{', '}', '\\']), "{text}");
        let uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].as_str().unwrap();
        assert!(
            !uri.split('/').any(|part| part == "..")
                && !uri.starts_with('/')
                && uri.chars().all(|c| c.is_ascii_graphic()),
            "{uri}"
        );
        let line = result["locations"][0]["physicalLocation"]["region"]["startLine"].as_u64();
        assert!(line.is_none_or(|line| line == 3), "neither 0 nor more than a reader takes: {line:?}");
    }
    assert_eq!(run["originalUriBaseIds"]["ROOT"].get("uri"), None, "no path of this machine");
}

#[test]
fn a_hostile_report_in_prometheus() {
    let text = of_hostile("prometheus");
    let mut series: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(series.starts_with("edgeprep_") && value.parse::<u64>().is_ok(), "{line}");
            if let Some((_, labels)) = series.split_once('{') {
                let labels = labels.strip_suffix('}').unwrap();
                let bare = labels.replace("\\\\", "").replace("\\\"", "");
                assert_eq!(bare.matches('"').count() % 2, 0, "{line}");
                assert_eq!(bare.matches("\",").count() + 1, bare.matches("=\"").count(), "{line}");
            }
            series
        })
        .collect();
    let all = series.len();
    series.sort_unstable();
    series.dedup();
    assert_eq!(series.len(), all, "a reader refuses the whole file where a series repeats");
    assert!(text.contains("\nedgeprep_ready 0\n") && !text.contains("\nedgeprep_ready 1\n"));
    assert_eq!(text.matches("\n# TYPE edgeprep_ready ").count(), 1);
}

#[test]
fn a_hostile_report_for_nagios() {
    let text = of_hostile("nagios");
    assert_eq!((text.lines().count(), text.matches('|').count()), (1, 1));
    let (told, data) = text.split_once('|').unwrap();
    assert!(
        told.starts_with("EDGEPREP CRITICAL - ")
            && !told.contains(['`', '$', '<', '&', '"', '\'', '\\', '{'])
    );
    assert!(
        !data.contains("evil")
            && data.starts_with(" required=3;;0;0 unknown=2;;;0 advised=2;0;;0 passed=1;;;0"),
        "{data}"
    );
}

#[test]
fn a_hostile_report_in_markdown() {
    let text = of_hostile("markdown");
    assert!(text.len() <= 65_000, "{}", text.len());
    // Without code, and without escaped characters, no mark is left but ours.
    let mut bare = String::new();
    // A line that begins an element is none of Markdown.
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("<details")).collect();
    let text = lines.join("\n");
    let mut rest = text.as_str();
    while let Some(at) = rest.find('`') {
        bare.push_str(&rest[..at]);
        let fence = "`".repeat(rest[at..].chars().take_while(|c| *c == '`').count());
        let inside = &rest[at + fence.len()..];
        let (end, length) = inside
            .match_indices(&fence)
            .map(|(end, _)| (end, inside[end..].chars().take_while(|c| *c == '`').count()))
            .find(|&(end, n)| n == fence.len() && !inside[..end].ends_with('`'))
            .expect("a fence is closed");
        rest = &inside[end + length..];
    }
    bare.push_str(rest);
    bare = bare.replace("</details>", "");
    let mut chars = bare.chars();
    let mut marks = String::new();
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            c => marks.push(c),
        }
    }
    assert!(!marks.contains(['<', '>', '[', ']', '`', '|', '!', '_', '~', '$']), "{marks}");
    assert!(!marks.contains("://") && !marks.contains("www."));
    for (at, c) in marks.match_indices(['@', '#']).filter(|(at, _)| !marks[..*at].ends_with(['\n', '#'])) {
        let next = marks[at + 1..].chars().next();
        assert!(next.is_none_or(|next| !next.is_alphanumeric()) || marks[..at].ends_with('&'), "{c}{next:?}");
    }
}

#[test]
fn a_hostile_report_in_html() {
    let text = of_hostile("html");
    let elements = [
        "!DOCTYPE", "html", "head", "meta", "title", "style", "body", "main", "footer", "h1", "h2", "h3",
        "p", "ul", "li", "code", "pre", "details", "summary", "dl", "dt", "dd", "table", "thead", "tbody",
        "tr", "th", "td", "span", "a", "article",
    ];
    for part in text.split('<').skip(1) {
        let (tag, _) = part.split_once('>').unwrap();
        let mut words = tag.trim_start_matches('/').split(' ');
        assert!(elements.contains(&words.next().unwrap()), "{tag}");
        for word in tag.split(' ').skip(1).filter(|word| word.contains("=\"")) {
            let name = word.split('=').next().unwrap();
            assert!(
                ["lang", "charset", "http-equiv", "content", "name", "class", "scope", "id", "href"]
                    .contains(&name),
                "{tag}"
            );
            assert!(name != "href" || word.starts_with("href=\"#c"), "{tag}");
        }
    }
    assert!(text.contains("default-src 'none'; style-src 'sha256-"));
}

#[test]
fn a_large_report_takes_no_longer_than_its_size() {
    let folder = TempDir::new().unwrap();
    let file = changed(&folder, |value| {
        let many = 4_000;
        let finding = |n: usize| {
            json!({ "subject": format!("s{n}"), "expected": format!("e{n}"), "found": "f", "verdict": "unmet",
                "evidence": [{ "path": format!("/p{n}"), "line": n, "text": "" }],
                "remedy": { "fixable": false, "summary": "r", "commands": [format!("c{n}")], "install":
                    { "command": "apt", "packages": [format!("p{n}")], "waits_for_boot": false } } })
        };
        let row = |id: String, findings: Vec<Value>| {
            json!({ "id": id, "summary": "", "level": "required", "status": "fail", "user": null,
                "findings": findings })
        };
        let mut rows: Vec<Value> = (0..many / 4).map(|n| row(format!("id{n}"), Vec::new())).collect();
        rows.push(row("many".to_owned(), (0..many).map(finding).collect()));
        value["checks"] = Value::Array(rows);
        let stack = |n: usize| {
            json!({ "name": format!("s{n}"), "user": "edge", "verdict": "not-ready", "blockers": ["many"],
                "needs": "none" })
        };
        value["stacks"] = (0..many / 4).map(stack).collect();
        value["host"]["name"] = json!("x".repeat(1 << 20));
    });
    assert!(fs::metadata(&file).unwrap().len() > 2 << 20);
    for format in FORMATS {
        let started = std::time::Instant::now();
        let output = report(&file, &["--format", format]);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{format}: {}", stderr(&output));
        assert!(started.elapsed().as_secs() < 60, "{format}: {:?}", started.elapsed());
    }
}
