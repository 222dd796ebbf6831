use super::*;
use crate::overlay::{Entry, KernelWord, Person, Subordinate};

/// Texts that a format can trip over.
const HOSTILE: [&str; 12] = [
    "",
    "plain\n",
    "no end",
    " leading\n",
    "two ends\n\n",
    "it's \"quoted\" \\ $HOME `id` $(id)\n",
    "{{ lookup('pipe', 'id') }} {% raw %}\n",
    "tab\tand # not: a comment\n---\n...\n",
    "EOF\n\nén \u{1f980} \u{85}\u{2028}\u{7f}\u{1}\n",
    "\n",
    "a\u{2028}b: c\n",
    "end  \n",
];

fn file(path: &str, text: &str) -> Entry {
    let content = Content::new(text.as_bytes().to_vec());
    Entry {
        path: path.to_owned(),
        state: State::File { content, mode: 0o640, uid: 0, gid: 0, capability: None },
    }
}

fn overlay() -> Overlay {
    let mut entries: Vec<Entry> =
        (0..).zip(HOSTILE).map(|(at, text)| file(&format!("/etc/x/{at}.conf"), text)).collect();
    entries.push(Entry { path: "/etc/y".to_owned(), state: State::Dir { mode: 0o750, uid: 0, gid: 0 } });
    let target = "/usr/lib/it's a $target".to_owned();
    entries.push(Entry { path: "/etc/y/l".to_owned(), state: State::Link { target, uid: 0, gid: 0 } });
    let content = Content::new(b"mine\n".to_vec());
    let own = State::File { content, mode: 0o600, uid: 1000, gid: 1001, capability: None };
    entries.push(Entry { path: "/home/edge/own".to_owned(), state: own });
    Overlay {
        about: "podman for edge".to_owned(),
        person: Person::new("edge", Some(1000), Some(1001), None).unwrap(),
        entries,
        subordinate: Some(Subordinate { start: 100_000, count: 65_536 }),
        kernel_words: vec![KernelWord {
            word: "quiet".to_owned(),
            wanted: false,
            why: "it hides".to_owned(),
            level: Level::Required,
        }],
        left: Vec::new(),
        left_is_required: false,
    }
}

fn text(format: OverlayFormat) -> String {
    String::from_utf8(bytes(&overlay(), format, 0).unwrap()).unwrap()
}

#[test]
fn a_tar_has_numbers_and_names_of_owners_and_one_time() {
    let bytes = bytes(&overlay(), OverlayFormat::Tar, 86_400).unwrap();
    let mut archive = ::tar::Archive::new(&bytes[..]);
    let mut seen = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header().clone();
        assert!(header.as_ustar().is_some());
        assert_eq!(header.mtime().unwrap(), 86_400);
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut entry, &mut text).unwrap();
        let link = header.link_name().unwrap().map(|target| target.to_str().unwrap().to_owned());
        let owner =
            format!("{}:{}", header.username().unwrap().unwrap(), header.groupname().unwrap().unwrap());
        let ids = (header.uid().unwrap(), header.gid().unwrap());
        seen.push((path, header.mode().unwrap(), ids, owner, link.unwrap_or(text)));
    }
    let root = |path: &str, mode, text: &str| {
        (path.to_owned(), mode, (0, 0), "root:root".to_owned(), text.to_owned())
    };
    let mut wanted: Vec<_> =
        (0..).zip(HOSTILE).map(|(at, text)| root(&format!("etc/x/{at}.conf"), 0o640, text)).collect();
    wanted.push(root("etc/y/", 0o750, ""));
    wanted.push(root("etc/y/l", 0o777, "/usr/lib/it's a $target"));
    let own = ("home/edge/own".to_owned(), 0o600, (1000, 1001), "edge:edge".to_owned(), "mine\n".to_owned());
    wanted.push(own);
    assert_eq!(seen, wanted);
}

/// The texts of a YAML document by the key that they are at, in order.
fn values(yaml: &str, key: &str) -> Vec<String> {
    use saphyr_parser::{Event, Parser};
    let mut values = Vec::new();
    let mut last = String::new();
    for event in Parser::new_from_str(yaml) {
        if let Event::Scalar(value, ..) = event.unwrap_or_else(|error| panic!("{error}\n{yaml}")).0 {
            if last == key {
                values.push(value.to_string());
            }
            last = value.to_string();
        }
    }
    values
}

#[test]
fn yaml_brings_every_text_back() {
    let wanted: Vec<&str> = HOSTILE.iter().copied().chain(["mine\n"]).collect();
    for (format, key) in [
        (OverlayFormat::CloudInit, "content"),
        (OverlayFormat::Butane, "inline"),
        (OverlayFormat::Ansible, "content"),
    ] {
        assert_eq!(values(&text(format), key), wanted, "{format:?}");
    }
}

#[test]
fn cloud_init_writes_a_users_file_once_there_is_the_user() {
    let yaml = text(OverlayFormat::CloudInit);
    assert!(yaml.starts_with("#cloud-config\n"));
    let own =
        "  - path: \"/home/edge/own\"\n    owner: edge:edge\n    permissions: \"0600\"\n    defer: true\n";
    assert!(yaml.contains(own), "{yaml}");
    assert_eq!(yaml.matches("defer").count(), 1);
}

#[test]
fn ansible_takes_no_text_for_a_template() {
    let yaml = text(OverlayFormat::Ansible);
    assert!(yaml.contains("    content: !unsafe |\n      {{ lookup"), "{yaml}");
    assert_eq!(yaml.matches("!unsafe").count(), 1);
    assert!(yaml.contains("    owner: \"1000\"\n    group: \"1001\"\n    mode: \"0600\"\n"));
}

#[test]
fn butane_carries_words_of_the_kernel() {
    let yaml = text(OverlayFormat::Butane);
    assert!(yaml.contains("kernel_arguments:\n  should_not_exist:\n    - \"quiet\"\n"), "{yaml}");
    assert!(yaml.contains("      mode: 0750\n"));
}

#[test]
fn a_script_quotes_everything() {
    let script = text(OverlayFormat::Shell);
    assert!(script.contains("'it'\\''s \"quoted\" \\ $HOME `id` $(id)\n'"), "{script}");
    assert!(script.contains("\"$1\" link 0777 0 0 '/etc/y/l' '/usr/lib/it'\\''s a $target'\n"));
    let mut with_nul = overlay();
    with_nul.entries.push(file("/etc/z", "a\0b"));
    for format in
        [OverlayFormat::Shell, OverlayFormat::CloudInit, OverlayFormat::Butane, OverlayFormat::Ansible]
    {
        assert!(bytes(&with_nul, format, 0).unwrap_err().to_string().contains("/etc/z is no text"));
    }
    assert!(bytes(&with_nul, OverlayFormat::Tar, 0).is_ok());
}

#[test]
fn what_a_format_does_not_carry_is_told() {
    let told = |format| left(&overlay(), format).into_iter().map(|left| left.required).collect::<Vec<_>>();
    assert_eq!(told(OverlayFormat::Tar), [true, true]);
    assert_eq!(told(OverlayFormat::Dir), [true, true]);
    assert_eq!(told(OverlayFormat::Shell), [true]);
    assert_eq!(told(OverlayFormat::Butane), [true], "the IDs");
    assert!(refuse(OverlayFormat::Butane, Layer::Vendor).is_err());
    assert!(refuse(OverlayFormat::Tar, Layer::Vendor).is_ok());
}
