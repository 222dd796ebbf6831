//! bootc: an image says in `kargs.d` which words its kernel is passed. What a host that runs such
//! an image passes is up to OSTree.

use super::bls::next_words;
use super::edits::{Edit, ends_kernel_words, words};
use super::{Boot, BootWant, Method, Place, Syntax, ostree};
use crate::facts::kernel_cmdline::{KernelCmdline, Parameter};
use crate::facts::{Evidence, Facts, line_of};
use crate::host::{Fact, OrAbsent, Unread};

/// Where bootc reads them from (bootc, `crates/lib/src/bootc_kargs.rs`): files that end in `.toml`,
/// by name.
const DIR: &str = "/usr/lib/bootc/kargs.d";
const BOOTC: &str = "/usr/lib/bootc";
const PROGRAM: &str = "/usr/bin/bootc";
const NAME: &str = "90-rootless.toml";

/// What the other files of the directory say, before and after the one that is edited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kargs {
    before: KernelCmdline,
    after: KernelCmdline,
    /// Another file with a lone `--`: what follows it is for init.
    ended: Option<String>,
}

/// A file of the directory: its words and the architectures that it is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct File {
    words: Vec<(u32, String)>,
    architectures: Option<Vec<String>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Raw {
    kargs: Vec<toml::Spanned<String>>,
    match_architectures: Option<Vec<String>>,
}

impl File {
    fn parse(text: &str) -> Result<File, (Option<u32>, String)> {
        let raw: Raw = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| line_of(text, span.start));
            (line, error.message().lines().next().unwrap_or_default().to_owned())
        })?;
        let words = raw.kargs.into_iter().map(|word| (line_of(text, word.span().start), word.into_inner()));
        Ok(File { words: words.collect(), architectures: raw.match_architectures })
    }

    /// The words; `for_init` as in [`next_words`].
    fn words(&self, path: &str, for_init: &mut bool) -> Vec<Parameter> {
        self.words.iter().flat_map(|(line, word)| next_words(path, *line, word, for_init)).collect()
    }

    fn ends_kernel_words(&self) -> bool {
        self.words.iter().any(|(_, word)| ends_kernel_words(word))
    }
}

pub(super) fn find(facts: &Facts, _want: &BootWant) -> Fact<Option<Boot>> {
    if facts.running() || ostree::is_there(facts)? {
        return Ok(None);
    }
    let is_bootc = facts.stat(BOOTC).or_absent()?.is_some() || facts.stat(PROGRAM).or_absent()?.is_some();
    if !is_bootc {
        return Ok(None);
    }
    let own = format!("{DIR}/{NAME}");
    let (mut before, mut inside, mut after) = (Vec::new(), Vec::new(), Vec::new());
    let mut at = Evidence::path(DIR, "");
    let mut foreign = None;
    let (mut for_init, mut ended) = (false, None);
    for entry in facts.names_in(DIR)?.iter().filter(|entry| entry.name.ends_with(".toml")) {
        let path = format!("{DIR}/{}", entry.name);
        let source = facts.source(&path)?;
        let file = File::parse(source.text()).map_err(|(line, expected)| Unread::Malformed {
            path: path.clone(),
            line,
            expected,
        })?;
        if let Some(architectures) = &file.architectures
            && !is_for(facts, architectures)?
        {
            if entry.name == NAME {
                foreign = Some(format!("{path} is for {}", architectures.join(", ")));
            }
            continue;
        }
        at = Evidence::path(&path, "");
        let part = match entry.name.as_str().cmp(NAME) {
            std::cmp::Ordering::Less => &mut before,
            std::cmp::Ordering::Equal => &mut inside,
            std::cmp::Ordering::Greater => &mut after,
        };
        part.extend(file.words(&path, &mut for_init));
        if entry.name != NAME && file.ends_kernel_words() {
            ended.get_or_insert(path);
        }
    }
    let parameters = before.iter().chain(&inside).chain(&after).cloned().collect();
    let next = KernelCmdline { parameters };
    let (before, after) = (KernelCmdline { parameters: before }, KernelCmdline { parameters: after });
    let place = Place {
        path: own,
        syntax: Syntax::Kargs(Kargs { before, after, ended }),
        words: next.clone(),
        carry: Vec::new(),
    };
    Ok(Some(Boot {
        before: None,
        method: Method::Bootc,
        at: vec![at],
        next,
        doubt: None,
        unheard: Vec::new(),
        place: foreign.map_or(Ok(place), Err),
    }))
}

/// Whether a file for these is for the image: names are those of Rust (`std::env::consts::ARCH`).
fn is_for(facts: &Facts, architectures: &[String]) -> Fact<bool> {
    let elf = facts.userland_arch()?;
    let name = match elf.value.arch {
        "i686" => "x86",
        "ppc" => "powerpc",
        "ppc64" | "ppc64le" => "powerpc64",
        arch if arch.starts_with("arm") => "arm",
        arch => arch,
    };
    Ok(architectures.iter().any(|architecture| architecture == name))
}

impl Kargs {
    /// The text of the file with a change; an empty text is one that is not there yet.
    pub(super) fn edit(&self, text: &str, edit: Edit<'_>) -> Result<String, String> {
        let own = if text.trim().is_empty() { File::default() } else { parse(text)? };
        let passes = |own: &File, word: &str| {
            let own = own.words("", &mut false);
            let all = self.before.parameters.iter().chain(&own).chain(&self.after.parameters);
            KernelCmdline { parameters: all.cloned().collect() }
                .deciding(word)
                .is_some_and(|last| last.is(word))
        };
        let (Edit::Last(word) | Edit::Without(word)) = edit;
        if self.ended.is_none() && passes(&own, word) == matches!(edit, Edit::Last(_)) {
            return Ok(text.to_owned());
        }
        if let Some(path) = &self.ended {
            return Err(format!("{path} has a --, behind which words are for init"));
        }
        if own.ends_kernel_words() {
            return Err("it has a --, behind which words are for init".to_owned());
        }
        let edited = match edit {
            Edit::Last(_) => add(text, word)?,
            Edit::Without(_) => take_out(text, edit)?,
        };
        let after = if edited.trim().is_empty() { File::default() } else { parse(&edited)? };
        if passes(&after, word) == matches!(edit, Edit::Last(_)) {
            return Ok(edited);
        }
        let mut others = self.after.parameters.iter().chain(&self.before.parameters);
        let at = others.find(|other| {
            other.is(word) || KernelCmdline { parameters: vec![(*other).clone()] }.deciding(word).is_some()
        });
        Err(at.map_or_else(
            || "the file is not understood".to_owned(),
            |other| format!("{} says {}", other.at, other.at.text),
        ))
    }
}

fn parse(text: &str) -> Result<File, String> {
    File::parse(text).map_err(|(line, why)| match line {
        Some(line) => format!("line {line}: {why}"),
        None => why,
    })
}

/// The file with one more word at the end of the list.
fn add(text: &str, word: &str) -> Result<String, String> {
    let quoted = toml::Value::String(word.to_owned()).to_string();
    if text.trim().is_empty() {
        return Ok(format!("{text}kargs = [{quoted}]\n"));
    }
    let raw: Raw = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    match raw.kargs.last() {
        Some(last) => {
            let (head, tail) = text.split_at(last.span().end);
            Ok(format!("{head}, {quoted}{tail}"))
        }
        None => {
            let empty: Empty = toml::from_str(text).map_err(|error| error.message().to_owned())?;
            let start = empty.kargs.span().start;
            let (head, tail) = text.split_at_checked(start + 1).ok_or("the list is not understood")?;
            Ok(format!("{head}{quoted}{tail}"))
        }
    }
}

/// Where a list without words stands.
#[derive(serde::Deserialize)]
struct Empty {
    kargs: toml::Spanned<Vec<String>>,
}

/// The file without a word: a string of which nothing is left goes with its comma.
fn take_out(text: &str, edit: Edit<'_>) -> Result<String, String> {
    if text.trim().is_empty() {
        return Ok(text.to_owned());
    }
    let raw: Raw = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    let mut out = text.to_owned();
    for word in raw.kargs.iter().rev() {
        let edited = words(word.get_ref(), edit);
        if edited == *word.get_ref() {
            continue;
        }
        let span = word.span();
        let (head, tail) =
            (out.get(..span.start).unwrap_or_default(), out.get(span.end..).unwrap_or_default());
        out = if edited.trim().is_empty() {
            let behind = tail.trim_start();
            match behind.strip_prefix(',') {
                Some(rest) => format!("{head}{}", rest.trim_start_matches([' ', '\t'])),
                None => {
                    let bare = head.trim_end();
                    format!("{}{tail}", bare.strip_suffix(',').unwrap_or(head))
                }
            }
        } else {
            format!("{head}{}{tail}", toml::Value::String(edited))
        };
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::{TestHost, empty_host};

    const OWN: &str = "/usr/lib/bootc/kargs.d/90-rootless.toml";
    const WORD: &str = "cgroup_enable=memory";

    /// With the files that bootc's documentation has as examples ("Kernel arguments").
    fn image() -> TestHost {
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(18, 0);
        elf.extend([62, 0]);
        empty_host()
            .file("/usr/bin/bootc", "")
            .file("/usr/lib/systemd/systemd", elf)
            .file("/usr/lib/bootc/kargs.d/10-example.toml", "kargs = [\"mitigations=auto,nosmt\"]\n")
            .file(
                "/usr/lib/bootc/kargs.d/00-console.toml",
                "kargs = [\"console=ttyS0,115200n8\"]\nmatch-architectures = [\"x86_64\"]\n",
            )
            .file(
                "/usr/lib/bootc/kargs.d/00-serial.toml",
                "kargs = [\"console=ttyAMA0\"]\nmatch-architectures = [\"aarch64\"]\n",
            )
            .image()
    }

    fn texts(words: &KernelCmdline) -> Vec<&str> {
        words.parameters.iter().map(|word| word.at.text.as_str()).collect()
    }

    #[test]
    fn an_image_has_its_words_in_files() {
        let boot = find(&image().facts(), &BootWant::default()).unwrap().unwrap();
        assert_eq!(texts(&boot.next), ["console=ttyS0,115200n8", "mitigations=auto,nosmt"]);
        let place = boot.place.unwrap();
        assert_eq!((place.path.as_str(), place.carry.len()), (OWN, 0));
        let text = place.syntax.edit("", Edit::Last(WORD)).unwrap();
        assert_eq!(text, "kargs = [\"cgroup_enable=memory\"]\n");
        let done = image().file(OWN, text.as_str()).facts();
        let boot = find(&done, &BootWant::default()).unwrap().unwrap();
        assert!(boot.next.last("cgroup_enable").is_some());
        assert_eq!(boot.place.unwrap().syntax.edit(&text, Edit::Last(WORD)), Ok(text));
    }

    #[test]
    fn other_hosts_are_not_of_bootc() {
        assert_eq!(find(&empty_host().image().facts(), &BootWant::default()), Ok(None));
        let running = empty_host().file("/usr/bin/bootc", "").facts();
        assert_eq!(find(&running, &BootWant::default()), Ok(None));
        let broken = image().file("/usr/lib/bootc/kargs.d/x.toml", "karg = []\n").facts();
        assert!(matches!(find(&broken, &BootWant::default()), Err(Unread::Malformed { .. })));
    }

    #[test]
    fn what_follows_two_dashes_is_for_init() {
        let early = image().file("/usr/lib/bootc/kargs.d/05-init.toml", "kargs = [\"--\", \"single\"]\n");
        let done = early.file(OWN, "kargs = [\"cgroup_enable=memory\"]\n").facts();
        let boot = find(&done, &BootWant::default()).unwrap().unwrap();
        assert!(boot.next.deciding(WORD).is_none());
        let why = boot.place.unwrap().syntax.edit("", Edit::Last(WORD)).unwrap_err();
        assert!(why.starts_with("/usr/lib/bootc/kargs.d/05-init.toml has a --"), "{why}");
        let own = Kargs::default().edit("kargs = [\"a --\"]\n", Edit::Last(WORD)).unwrap_err();
        assert!(own.starts_with("it has a --"), "{own}");
    }

    #[test]
    fn one_word_is_changed() {
        let none = || KernelCmdline::default();
        let kargs = Kargs { before: none(), after: none(), ended: None };
        for (text, edited) in [
            ("kargs = []\n", "kargs = [\"cgroup_enable=memory\"]\n"),
            ("# c\nkargs = [\n  \"a\",\n]\n", "# c\nkargs = [\n  \"a\", \"cgroup_enable=memory\",\n]\n"),
            ("kargs = [ ]\n", "kargs = [\"cgroup_enable=memory\" ]\n"),
            ("kargs = [ # none\n]\n", "kargs = [\"cgroup_enable=memory\" # none\n]\n"),
            (
                "# kargs = []\nmatch-architectures = []\nkargs = []\n",
                "# kargs = []\nmatch-architectures = []\nkargs = [\"cgroup_enable=memory\"]\n",
            ),
            ("kargs = ['a b']\n", "kargs = ['a b', \"cgroup_enable=memory\"]\n"),
        ] {
            assert_eq!(kargs.edit(text, Edit::Last(WORD)).as_deref(), Ok(edited), "{text}");
        }
        for (text, edited) in [
            ("kargs = [\"quiet\"]\n", "kargs = []\n"),
            ("kargs = [\"quiet\", \"b\"]\n", "kargs = [\"b\"]\n"),
            ("kargs = [\"a\", \"quiet\"]\n", "kargs = [\"a\"]\n"),
            ("kargs = [\"a quiet b\"]\n", "kargs = [\"a b\"]\n"),
        ] {
            assert_eq!(kargs.edit(text, Edit::Without("quiet")).as_deref(), Ok(edited), "{text}");
        }
        let parameters =
            next_words("/usr/lib/bootc/kargs.d/99-x.toml", 1, "cgroup_disable=memory", &mut false);
        let after = KernelCmdline { parameters };
        let undone = Kargs { before: none(), after, ended: None };
        let why = undone.edit("", Edit::Last(WORD)).unwrap_err();
        assert_eq!(why, "/usr/lib/bootc/kargs.d/99-x.toml:1 says cgroup_disable=memory");
        let why = undone.edit("", Edit::Without("cgroup_disable=memory")).unwrap_err();
        assert_eq!(why, "/usr/lib/bootc/kargs.d/99-x.toml:1 says cgroup_disable=memory");
    }

    proptest! {
        #[test]
        fn twice_is_once(words in proptest::collection::vec("(quiet|cgroup_(en|dis)able=memory|b c)", 0..5)) {
            let kargs = Kargs::default();
            let list: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
            let text = format!("kargs = [{}]\n", list.join(", "));
            for edit in [Edit::Last(WORD), Edit::Without("quiet")] {
                let once = kargs.edit(&text, edit).unwrap();
                prop_assert_eq!(kargs.edit(&once, edit), Ok(once));
            }
        }

        #[test]
        fn never_panics(text in "(?s)(kargs|=|\\[|\\]|\"|quiet|,| |\n|#|é|match-architectures){0,14}") {
            let kargs = Kargs::default();
            let _ = kargs.edit(&text, Edit::Last(WORD));
            let _ = kargs.edit(&text, Edit::Without("quiet"));
        }
    }
}
