use super::*;
use std::time::Instant;

fn parse(text: &str) -> Result<Vec<Rc<Node>>, Malformed> {
    documents(&Source::new("a.yaml", text))
}

fn why(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

/// Gives the first document to `look`.
fn with<T>(text: &str, look: impl Fn(View) -> T) -> T {
    let source = Source::new("a.yaml", text);
    let (file, documents) = (File::new(&source), documents(&source).unwrap());
    look(View::new(&file, &documents[0]))
}

#[test]
fn documents_that_are_empty_are_none() {
    for (text, count) in [
        ("", 0),
        ("# only a comment\n", 0),
        ("---\n---\n", 0),
        ("--- null\n", 0),
        ("---\na: 1\n---\n# nothing\n---\nb: 2\n...\n", 2),
        ("{\"a\": 1}", 1),
        ("\u{feff}a: 1\n", 1),
        ("a: 1\r\nb: 2\r\n", 1),
    ] {
        assert_eq!(parse(text).unwrap().len(), count, "{text:?}");
    }
}

#[test]
fn values_have_lines_and_types() {
    let text = "a:\n  b: 80\n  c: \"80\"\nd: [0x50, 0o120, +80]\ne: !!str 80\nf: ~\ng: yes\nh: 'true'\n";
    with(text, |view| {
        let b = view.path(&["a", "b"]).unwrap();
        assert_eq!(
            (b.integer(), b.at().to_string(), b.at().text.as_str()),
            (Ok(Some(80)), "a.yaml:2".into(), "b: 80")
        );
        let quoted = view.path(&["a", "c"]).unwrap();
        assert_eq!(quoted.text(), Ok(Some("80")));
        assert_eq!(
            quoted.integer().unwrap_err().to_string(),
            "a.yaml:3: c: expected a number without quotes"
        );
        let items = view.get("d").unwrap().items().unwrap();
        assert!(items.iter().all(|item| item.integer() == Ok(Some(80))));
        assert!(view.get("e").unwrap().integer().is_err());
        for key in ["f", "none"] {
            assert!(!view.get(key).unwrap().is_there(), "{key}");
            assert_eq!(view.path(&[key, "x"]).unwrap().integer(), Ok(None));
        }
        assert_eq!(view.get("g").unwrap().is_true(), Ok(true));
        assert_eq!(view.get("f").unwrap().is_true(), Ok(false));
        let why = view.get("h").unwrap().is_true().unwrap_err();
        assert_eq!(why.to_string(), "a.yaml:8: h: expected true or false, without quotes");
        let why = view.path(&["d", "x"]).err().unwrap();
        assert_eq!(why.to_string(), "a.yaml:4: d: expected a map, found a list");
        assert!(view.get("a").unwrap().items().is_err() && view.get("a").unwrap().text().is_err());
    });
}

#[test]
fn merge_keys_bring_what_is_not_there() {
    let text =
        "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc:\n  <<: [*a, *b]\n  x: 9\nd: {<<: *a}\ne: {\"<<\": 1}\n";
    with(text, |view| {
        let of = |keys: [&'static str; 2]| view.path(&keys).unwrap().integer().unwrap();
        assert_eq!(
            (of(["c", "x"]), of(["c", "y"]), of(["c", "z"]), of(["d", "y"])),
            (Some(9), Some(2), Some(4), Some(2))
        );
        assert_eq!(of(["e", "<<"]), Some(1), "in quotes it is a key like any other");
    });
    assert_eq!(why("a: 1\nb: {<<: 1}\n"), "a.yaml:2: expected a map, or a list of maps, after <<");
    assert!(why("a: {<<: [1]}\n").contains("expected a map"));
}

#[test]
fn what_is_no_yaml_is_named_with_its_line() {
    assert!(why("a: [1,\nb: }\n").starts_with("a.yaml:2: expected YAML: "), "{}", why("a: [1,\nb: }\n"));
    assert_eq!(why("a: 1\nb: 2\na: 3\n"), "a.yaml:3: expected the key a once, it stands in line 1, too");
    assert_eq!(why("x:\n  ? {a: b}\n  : 1\n"), "a.yaml:2: expected a key that is one word");
    assert!(why("a: *none\n").starts_with("a.yaml:1: "));
    assert!(why("a: &a [*a]\n").starts_with("a.yaml:1: expected an alias of a node that has ended"));
}

#[test]
fn a_billion_laughs_are_refused_at_once() {
    let mut text = "a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for (this, last) in ('b'..='i').zip('a'..) {
        let nine = vec![format!("*{last}"); 9].join(", ");
        text += &format!("{this}: &{this} [{nine}]\n");
    }
    let started = Instant::now();
    assert_eq!(why(&text), "a.yaml:6: expected no more than 200000 values, with aliases written out");
    // By merge keys, too, and in many documents.
    let document = "---\na: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\n\
                    c: [*b, *b, *b, *b, *b, *b, *b, *b, *b]\n";
    assert!(why(&document.repeat(600)).contains("200000 values"));
    assert!(started.elapsed().as_secs() < 60);
}

#[test]
fn what_is_too_deep_or_too_long_is_refused() {
    for text in ["[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000)] {
        let started = Instant::now();
        assert!(parse(&text).is_err(), "{}", &text[..10]);
        assert!(started.elapsed().as_secs() < 60, "{}", &text[..10]);
    }
    assert!(why(&"[".repeat(200)).contains("100 levels"), "{}", why(&"[".repeat(200)));
    assert!(why(&"--- a\n".repeat(6_000)).contains("5000 documents"));
    let list = "- a\n".repeat(1_000_000);
    let started = Instant::now();
    assert!(why(&list).contains("200000 values"));
    let scalar = format!("a: \"{}\"\n", "x".repeat(1_000_000));
    assert_eq!(parse(&scalar).unwrap().len(), 1, "one long value is no harm");
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*|[-a-c&*<:{}\\[\\],?!|>'\"# \\n\\t%@.~0-9]{0,80}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let _ = parse(&String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn what_the_parser_has_to_keep_is_bounded() {
    let expected = "expected fewer values between the same brackets, or in one text";
    for text in [
        format!("{{{}", "a,".repeat(130_000)),
        format!("[{}]", "{a: 1},".repeat(40_000)),
        format!("[\n{}]", "a,\n".repeat(130_000)),
    ] {
        assert!(why(&text).ends_with(expected), "{}", &text[..20]);
    }
    assert_eq!(why(&format!("[\n{}", "a,\n".repeat(130_000))), format!("a.yaml:120002: {expected}"));
    let json = format!("[{}{{}}]", "{\"name\": \"a\", \"value\": \"b\"},".repeat(14_000));
    assert_eq!(parse(&json).unwrap().len(), 1);
    assert_eq!(parse(&"- [a, b, c]\n".repeat(49_000)).unwrap().len(), 1, "each is told of by itself");
    let key = "k".repeat(1025);
    assert_eq!(why(&format!("a: 1\n? {key}\n: 1\n")), "a.yaml:2: expected a key of up to 1024 bytes");
}

#[test]
fn what_stands_in_a_text_is_nothing_to_keep() {
    let json = format!("{{{}\"z\": 1}}", "\"a\": [1, 2, {\"b\": 3}], ".repeat(25_000));
    let (quoted, single) = (json.replace('"', "\\\""), json.replace("a", "it''s"));
    for (text, kept) in [
        (format!("data:\n  a: |\n    {json}\n  b: 1\n"), format!("{json}\n")),
        (format!("data:\n  a: >-  # x\n\n    {json}\n\n  b: 1\n"), format!("\n{json}")),
        (format!("data:\r\n  a: |+\r\n    {json}\r\n  b: 1\r\n"), format!("{json}\n")),
        (format!("data:\n  a: |2-\n      {json}\n  b: 1\n"), format!("  {json}")),
        (format!("data: {{a: \"{quoted}\", b: 1}}\n"), json.clone()),
        (format!("data:\n  a: \"{quoted}\"\n  b: 1\n"), json.clone()),
        (format!("data:\n  a: '{single}'\n  b: 1\n"), single.replace("''", "'")),
        (format!("# é\ndata:\n  a: |-\n    {json}"), json.clone()),
    ] {
        let found = with(&text, |view| {
            let a = view.path(&["data", "a"]).unwrap();
            a.text().map(|text| text.unwrap().to_owned())
        });
        assert!(found == Ok(kept), "{:?}", &text[..40]);
    }
    for text in [
        format!("- |\n  {json}\n- \"{quoted}\"\n- >\n  {json}\n"),
        format!("a:\n- |\n  {json}\n- |\n  {json}\n- b: 1\n- |\n  {json}\n"),
        format!("- - '{single}'\n  - |\n    {json}\n"),
    ] {
        assert_eq!(parse(&text).unwrap().len(), 1, "{}", &text[..20]);
    }
}

#[test]
fn what_only_looks_like_a_text_is_bounded() {
    let expected = "expected fewer values between the same brackets, or in one text";
    let list = format!("[{}\n]", "a,".repeat(130_000));
    for before in [
        "a: |\n  x\nb:\n  ",
        "a: |\n\nb:\n  ",
        "- a: |\n  ",
        "- - |\n ",
        "a: |1\nb:\n  ",
        "a: 'it''s'\nb:\n  ",
        "a: \"\\\\\"\nb:\n  ",
        "a: \"\\\"\"\nb:\n  ",
        "a: b, 'c\nd:\n  ",
        "a: b\n  - 'c\nd:\n  ",
        "a: it's\nb:\n  ",
        "a: b # c: 'd\ne:\n  ",
        "a: # '\n ",
        "a: # |\n ",
        "{a: |\n    ",
        "[a 'b, ",
        "{a#: 'b', c: ",
        "? |\n  x\n:\n  ",
        "a:\n- 'b'\n- ",
        "a:\n- |\n  x\nb:\n  ",
        "a:\n- |\n x\n-\n ",
    ] {
        let why = parse(&format!("{before}{list}\n")).err().map(|why| why.to_string());
        assert!(why.as_ref().is_some_and(|why| why.ends_with(expected)), "{before:?}: {why:?}");
    }
}
