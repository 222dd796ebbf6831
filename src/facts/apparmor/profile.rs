//! The text of a policy file (`apparmor.d(5)`): which profiles it defines, and of their rules only
//! `userns` and `include`.

use super::super::{Evidence, Source, Sourced};
use super::ROOT;
use super::tokens::{Token, tokens};

/// How deep blocks may be nested before the rest of a file is ignored.
const DEPTH_LIMIT: usize = 32;

/// A file that is included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Include {
    /// The file or directory.
    pub path: String,
    /// Whether it may be absent (`include if exists`).
    pub optional: bool,
}

/// A profile that is not inside of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name, which the kernel lists it by.
    pub name: String,
    /// The pattern of paths that it attaches to; without one it is only entered by other profiles.
    pub attachment: Option<String>,
    /// Its flags, such as `unconfined`, `complain`, `attach_disconnected`.
    pub flags: Vec<String>,
    /// The major number of the policy ABI that the file asks for.
    pub abi: Option<u32>,
    /// `userns` rules of its own: true allows, false denies.
    pub userns: Vec<Sourced<bool>>,
    /// What is included inside of it.
    pub includes: Vec<Include>,
    /// What is included before it.
    pub preamble: Vec<Include>,
    /// Variables that are set in the file.
    pub(super) assignments: Vec<Assignment>,
    /// Where it begins.
    pub at: Evidence,
}

/// `@{NAME} = VALUE...` or `@{NAME} += VALUE...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) name: String,
    pub(super) values: Vec<String>,
}

/// What a file holds: profiles, or, where it is made to be included, rules or variables.
#[derive(Debug, Default)]
pub(super) struct Policy {
    pub(super) profiles: Vec<Profile>,
    pub(super) assignments: Vec<Assignment>,
    /// Rules outside of any profile.
    pub(super) userns: Vec<Sourced<bool>>,
    /// Includes in the preamble of a file with profiles.
    pub(super) preamble: Vec<Include>,
    /// Includes in a file without profiles.
    pub(super) includes: Vec<Include>,
}

/// What a block belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    /// The profile that was added last.
    Profile,
    /// Rules of the enclosing block, qualified: `audit { ... }`, `deny { ... }`.
    Qualified { deny: bool },
    /// A hat, a profile inside of a profile, or what is not understood.
    Other,
}

/// A source with its lines at hand: a file can hold as many rules as lines.
struct Place<'a> {
    source: &'a Source,
    lines: Vec<&'a str>,
}

impl Place<'_> {
    fn evidence(&self, line: u32) -> Evidence {
        let text = self.lines.get(line.saturating_sub(1) as usize).copied().unwrap_or_default();
        Evidence::line(self.source.path(), line, text)
    }
}

impl Policy {
    /// Reads a file. What is not understood is passed over.
    pub(super) fn parse(source: &Source) -> Policy {
        let mut policy = Policy::default();
        let place = Place { source, lines: source.lines().map(|(_, text)| text).collect() };
        let mut abi = None;
        let mut blocks: Vec<Block> = Vec::new();
        let mut statement: Vec<Token> = Vec::new();
        let tokens = tokens(source);
        let mut rest = tokens.as_slice();
        while let Some((token, after)) = rest.split_first() {
            rest = after;
            if statement.is_empty() {
                if let Some((include, after)) = include(token, rest) {
                    rest = after;
                    policy.include(include, &blocks);
                    continue;
                }
                if blocks.is_empty()
                    && let Some((assignment, after)) = assignment(token, rest)
                {
                    rest = after;
                    policy.assignments.push(assignment);
                    continue;
                }
            }
            match token.text.as_str() {
                "{" => {
                    if blocks.len() >= DEPTH_LIMIT {
                        break;
                    }
                    blocks.push(policy.open(&place, &statement, &blocks, abi));
                    statement.clear();
                }
                "}" => {
                    blocks.pop();
                    statement.clear();
                }
                "," => {
                    abi = abi_of(&statement).or(abi);
                    policy.rule(&place, &statement, &blocks);
                    statement.clear();
                }
                _ => statement.push(token.clone()),
            }
        }
        if policy.profiles.is_empty() {
            policy.includes = std::mem::take(&mut policy.preamble);
        }
        for profile in &mut policy.profiles {
            profile.preamble.clone_from(&policy.preamble);
            profile.assignments.clone_from(&policy.assignments);
        }
        policy
    }

    fn include(&mut self, include: Include, blocks: &[Block]) {
        if blocks.is_empty() {
            self.preamble.push(include);
        } else if let Some(profile) = self.current(blocks) {
            profile.includes.push(include);
        }
    }

    /// The profile whose rules are read, if it is one that is kept.
    fn current(&mut self, blocks: &[Block]) -> Option<&mut Profile> {
        let kept = blocks.first() == Some(&Block::Profile) && !blocks.contains(&Block::Other);
        if kept { self.profiles.last_mut() } else { None }
    }

    fn open(&mut self, place: &Place<'_>, header: &[Token], blocks: &[Block], abi: Option<u32>) -> Block {
        let words: Vec<&str> = header.iter().map(|token| token.text.as_str()).collect();
        let qualifiers = ["audit", "allow", "deny", "quiet", "owner"];
        if !words.is_empty() && words.iter().all(|word| qualifiers.contains(word)) {
            return Block::Qualified { deny: words.contains(&"deny") };
        }
        let Some(first) = header.first().filter(|_| blocks.is_empty()) else { return Block::Other };
        let named = first.text == "profile";
        let is_pattern =
            |text: &str| text.starts_with('/') || text.starts_with("@{") || text.starts_with('{');
        let Some(name) = header.get(usize::from(named)).map(|token| &token.text) else { return Block::Other };
        if !named && !is_pattern(name) {
            return Block::Other;
        }
        let mut attachment = is_pattern(name).then(|| name.clone());
        let mut flags = Vec::new();
        for word in words.iter().skip(usize::from(named) + 1) {
            if let Some(list) = word.strip_prefix("flags=").or(Some(*word)).and_then(|w| w.strip_prefix('('))
            {
                let list = list.strip_suffix(')').unwrap_or(list);
                flags.extend(list.split([',', ' ', '\t']).filter(|f| !f.is_empty()).map(str::to_owned));
            } else if is_pattern(word) {
                attachment = Some((*word).to_owned());
            }
        }
        let at = place.evidence(first.line);
        self.profiles.push(Profile {
            name: name.clone(),
            attachment,
            flags,
            abi,
            userns: Vec::new(),
            includes: Vec::new(),
            preamble: Vec::new(),
            assignments: Vec::new(),
            at,
        });
        Block::Profile
    }

    /// `userns`, `userns create`, and `all`, which includes it.
    fn rule(&mut self, place: &Place<'_>, statement: &[Token], blocks: &[Block]) {
        let mut deny = blocks.contains(&Block::Qualified { deny: true });
        let mut words = statement.iter().skip_while(|token| {
            deny |= token.text == "deny";
            let text = token.text.as_str();
            matches!(text, "audit" | "allow" | "deny" | "quiet") || text.starts_with("priority=")
        });
        if let Some(token) = words.next()
            && matches!(token.text.as_str(), "userns" | "all")
        {
            let rule = Sourced { value: !deny, at: place.evidence(token.line) };
            if blocks.is_empty() {
                self.userns.push(rule);
            } else if let Some(profile) = self.current(blocks) {
                profile.userns.push(rule);
            }
        }
    }
}

/// `include <abstractions/base>`, `#include if exists <local/podman>`, `include "/path"`.
fn include<'a>(first: &Token, rest: &'a [Token]) -> Option<(Include, &'a [Token])> {
    if first.text != "include" && first.text != "#include" {
        return None;
    }
    let text = |at: usize| rest.get(at).map(|token| token.text.as_str());
    let optional = text(0) == Some("if") && text(1) == Some("exists");
    let at = if optional { 2 } else { 0 };
    let path = text(at)?;
    let path = path.strip_prefix('<').and_then(|p| p.strip_suffix('>')).unwrap_or(path);
    let path = if path.starts_with('/') { path.to_owned() } else { format!("{ROOT}/{path}") };
    Some((Include { path, optional }, rest.get(at + 1..).unwrap_or_default()))
}

/// `@{NAME}=VALUE...`, to the end of the line.
fn assignment<'a>(first: &Token, rest: &'a [Token]) -> Option<(Assignment, &'a [Token])> {
    let operator = |text: &'a str| text.strip_prefix("+=").or_else(|| text.strip_prefix('='));
    let (name, value) = first.text.strip_prefix("@{")?.split_once('}')?;
    // White space around the operator is allowed.
    let (value, rest) = match value.strip_prefix("+=").or_else(|| value.strip_prefix('=')) {
        Some(value) => (value, rest),
        None if value.is_empty() => (operator(&rest.first()?.text)?, rest.get(1..)?),
        None => return None,
    };
    let end = rest.iter().position(|next| next.line != first.line || next.text == "{").unwrap_or(rest.len());
    let (values, after) = rest.split_at_checked(end)?;
    let values = std::iter::once(value).chain(values.iter().map(|token| token.text.as_str()));
    let values = values.filter(|value| !value.is_empty()).map(str::to_owned).collect();
    Some((Assignment { name: name.to_owned(), values }, after))
}

/// The major number in `abi <abi/4.0>`; `abi <kernel>` means all that the kernel has.
fn abi_of(statement: &[Token]) -> Option<u32> {
    let [first, second] = statement else { return None };
    if first.text != "abi" {
        return None;
    }
    let name = second.text.trim_matches(['<', '>']);
    if name == "kernel" {
        return Some(u32::MAX);
    }
    name.rsplit('/').next()?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Policy {
        Policy::parse(&Source::new("/etc/apparmor.d/x", text))
    }

    /// passt 0.0~git20250503 of Debian 13, shortened.
    const PASTA: &str = "\
abi <abi/4.0>,

include <tunables/global>

profile pasta /usr/bin/pasta{,.avx2} flags=(attach_disconnected) {
  include <abstractions/pasta>

  # Alternatively: include <abstractions/user-tmp>
  /tmp/**\t\t\t\trw,\t# tap_sock_unix_open(),
  owner @{HOME}/**\t\t\tw,\t# pcap(), pidfile_open(),
}
";

    #[test]
    fn a_confined_program() {
        let policy = parse(PASTA);
        let [pasta] = policy.profiles.as_slice() else { panic!() };
        assert_eq!(pasta.name, "pasta");
        assert_eq!(pasta.attachment.as_deref(), Some("/usr/bin/pasta{,.avx2}"));
        assert_eq!(
            (pasta.flags.as_slice(), pasta.abi),
            (["attach_disconnected".to_owned()].as_slice(), Some(4))
        );
        assert_eq!(
            pasta.includes,
            [Include { path: "/etc/apparmor.d/abstractions/pasta".to_owned(), optional: false }]
        );
        assert_eq!(pasta.preamble[0].path, "/etc/apparmor.d/tunables/global");
        assert_eq!((pasta.at.line, pasta.userns.len()), (Some(5), 0));
    }

    #[test]
    fn forms_of_headers() {
        for (text, name, attachment, flags) in [
            ("/opt/a/b flags=(unconfined) {\nuserns,\n}", "/opt/a/b", Some("/opt/a/b"), &["unconfined"][..]),
            ("profile a /b (complain,audit) { }", "a", Some("/b"), &["complain", "audit"]),
            ("profile unprivileged_userns {}", "unprivileged_userns", None, &[]),
            ("profile \"a b\" \"/c d/e\" flags=(unconfined){ }", "a b", Some("/c d/e"), &["unconfined"]),
            ("profile a\n  @{bin}/x\n  flags=(a, b)\n{\n}", "a", Some("@{bin}/x"), &["a", "b"]),
            ("profile /x xattrs=(user.a=\"b\") {}", "/x", Some("/x"), &[]),
        ] {
            let policy = parse(text);
            let [profile] = policy.profiles.as_slice() else { panic!("{text}: {policy:?}") };
            assert_eq!((profile.name.as_str(), profile.attachment.as_deref()), (name, attachment), "{text}");
            assert_eq!(profile.flags, flags, "{text}");
        }
    }

    #[test]
    fn userns_rules() {
        for (body, expected) in [
            ("userns,", Some(true)),
            ("allow userns create,", Some(true)),
            ("audit deny userns,", Some(false)),
            ("deny { userns, }", Some(false)),
            ("audit { userns, }", Some(true)),
            ("allow all,", Some(true)),
            ("# userns,", None),
            ("/usr/bin/userns rix,", None),
            ("profile child { userns, }", None),
            ("^hat { userns, }", None),
            ("hat x { allow { userns, } }", None),
        ] {
            let policy = parse(&format!("profile a /b {{\n {body}\n}}\nprofile c /d {{ }}"));
            let got = policy.profiles[0].userns.first();
            assert_eq!(got.map(|rule| (rule.value, rule.at.line)), expected.map(|e| (e, Some(2))), "{body}");
            assert_eq!(policy.profiles[1].userns, [], "{body}");
        }
    }

    #[test]
    fn files_that_are_included() {
        let policy = parse(
            "# Site-specific additions\nuserns,\n#include if exists <local/more>\n@{A}=/a /b\n@{A} += /c\n@{B}= \n@{C},\n",
        );
        assert_eq!(policy.userns.len(), 1);
        assert_eq!(
            policy.includes,
            [Include { path: "/etc/apparmor.d/local/more".to_owned(), optional: true }]
        );
        assert_eq!(policy.assignments[0].values, ["/a", "/b"]);
        assert_eq!(policy.assignments[1].values, ["/c"]);
        assert_eq!((policy.assignments.len(), policy.assignments[2].values.len()), (3, 0));
    }

    #[test]
    fn long_files_take_no_longer_than_they_must() {
        for text in ["userns,\n", "@{=,", "@{a},", "{ ", "include ", "@{a}= "] {
            let _ = parse(&text.repeat(100_000));
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s)(profile |include |userns,|flags=\\(|[{}(),#\"@\\\\/ =<>\\n]|[a-zé]{1,3}){0,40}") {
            let _ = parse(&text);
        }
    }
}
