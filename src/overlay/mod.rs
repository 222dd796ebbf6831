//! What `fix` would write, without a host: paths with bytes, modes and owners, for whoever builds
//! images.
//!
//! The plan is that of `fix --root` for a [`model`] host, so that files, names and values are those
//! of the same code. What `fix` edits rather than writes is no file of an overlay, and is kept
//! apart.

mod model;

use std::collections::BTreeMap;

use crate::facts::kernel::KernelVersion;
use crate::finding::Level;
use crate::fixes::{self, FixError, Layer, Step};
use crate::inspection::{Request, wanted};
use crate::plan::{Change, Content, PlanError, Planner, Scope, State};
use crate::report::Readiness;
use crate::requirements::Requirements;
use model::Model;

/// The shared databases of subordinate IDs.
const SUBORDINATE: [&str; 2] = ["/etc/subuid", "/etc/subgid"];

/// The user that an overlay is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The login name; the group has the same.
    pub name: String,
    /// The UID.
    pub uid: u32,
    /// The GID of the primary group.
    pub gid: u32,
    /// The home directory.
    pub home: String,
}

/// A user that no overlay is made for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PersonError {
    /// A name that programs take for something else.
    #[error("--user {0:?}: expected a name of a-z, 0-9, _ and -, at most 32, that begins with a letter or _")]
    Name(String),
    /// The IDs of root, of everybody's nobody, and what is no ID.
    #[error("{0}: expected the ID of a regular user, 1000 to 59999")]
    Id(&'static str),
    /// A home directory that is none.
    #[error("--home {0:?}: expected an absolute path of letters, digits and ._-, without .. in it")]
    Home(String),
}

impl Person {
    /// A user, with what is usual where nothing is said: the UID 1000, a group of the same number,
    /// a home below `/home`.
    ///
    /// # Errors
    /// [`PersonError`]: names go into scripts, units and databases.
    pub fn new(
        name: &str,
        uid: Option<u32>,
        gid: Option<u32>,
        home: Option<&str>,
    ) -> Result<Person, PersonError> {
        let starts = |c: char| c.is_ascii_lowercase() || c == '_';
        let follows = |c: char| starts(c) || c.is_ascii_digit() || c == '-';
        // useradd(8) of shadow takes no others; digits alone are an ID.
        if name.len() > 32 || !name.starts_with(starts) || !name.chars().all(follows) || name == "root" {
            return Err(PersonError::Name(name.to_owned()));
        }
        let uid = uid.unwrap_or(1000);
        let gid = gid.unwrap_or(uid);
        // Above them systemd has ranges of its own (systemd: docs/UIDS-GIDS.md).
        let regular = 1000..60_000;
        if !regular.contains(&uid) {
            return Err(PersonError::Id("--uid"));
        }
        if !(1..60_000).contains(&gid) {
            return Err(PersonError::Id("--gid"));
        }
        let home = home.map_or_else(|| format!("/home/{name}"), str::to_owned);
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        let is_path = home.len() > 1 && home.starts_with('/') && !home.ends_with('/') && !home.contains("//");
        if !is_path || !home.chars().all(plain) || home.split('/').any(|part| part == ".." || part == ".") {
            return Err(PersonError::Home(home));
        }
        Ok(Person { name: name.to_owned(), uid, gid, home })
    }
}

/// What an overlay has at a path. All paths are absolute, and none has a link of the overlay above
/// it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The path.
    pub path: String,
    /// What is there, with mode and owner.
    pub state: State,
}

/// A range of subordinate IDs that a user needs, where they have none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subordinate {
    /// The first, where it is free.
    pub start: u32,
    /// How many.
    pub count: u32,
}

/// Who gives subordinate IDs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum SubIds {
    /// Appended where the user has none; in formats that cannot, it is left to others
    #[default]
    Append,
    /// Written as whole files, for images in which nobody else has any
    File,
    /// Given by whoever creates the user, as useradd does
    None,
}

/// A word that the kernel has to be passed, or must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelWord {
    /// The word.
    pub word: String,
    /// Whether it is passed.
    pub wanted: bool,
    /// Why.
    pub why: String,
    /// How much depends on it.
    pub level: Level,
}

/// What `fix` would write for a profile, stacks and a user.
#[derive(Clone, Debug)]
pub struct Overlay {
    /// The stacks, the user and the profile, in a few words.
    pub about: String,
    /// The user.
    pub person: Person,
    /// Directories, files and links, by path, directories before what is in them.
    pub entries: Vec<Entry>,
    /// What is to be appended to the databases of subordinate IDs.
    pub subordinate: Option<Subordinate>,
    /// For the boot loader, which every host has its own way to be told by.
    pub kernel_words: Vec<KernelWord>,
    /// What else is left to a person.
    pub left: Vec<Step>,
    /// Whether a stack does not run without what is left.
    pub left_is_required: bool,
}

/// How an overlay is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where files go.
    pub layer: Layer,
    /// Who gives subordinate IDs.
    pub subids: SubIds,
    /// For whom.
    pub person: Person,
    /// The version of the kernel that it is for.
    pub kernel: String,
}

impl Overlay {
    /// Plans it. The same request and options give the same overlay, wherever and whenever that is
    /// done.
    ///
    /// # Errors
    /// [`PlanError`]: bad policy.
    pub fn plan(request: &Request, options: &Options) -> Result<Overlay, PlanError> {
        let Options { layer, subids, person, kernel } = options;
        if KernelVersion::parse(kernel).is_none() || kernel.contains('/') {
            let why = format!("--kernel {kernel:?}: expected a version such as 6.1");
            return Err(FixError::Refused(why).into());
        }
        let request = &Request { users: vec![person.name.clone()], ..request.clone() };
        let (policy, requirements, _) = wanted(&Model::of(person, None).facts(&[]), request)?;
        let model = Model::of(person, Some((&requirements, kernel)));
        let open = |changes: &[Change]| Ok(model.facts(changes));
        let fixes = fixes::Options { layer: *layer, no_activate: true, ..fixes::Options::default() };
        let plan = Planner { open: &open, request, options: &fixes, scope: Scope::All }.plan()?;
        let mut overlay = Overlay {
            about: about(&requirements, person, &policy.choice.name),
            person: person.clone(),
            entries: Vec::new(),
            subordinate: None,
            kernel_words: kernel_words(&requirements),
            left: plan.manual,
            left_is_required: plan.predicted.summary.verdict == Some(Readiness::NotReady),
        };
        for change in plan.changes {
            if SUBORDINATE.contains(&change.path.as_str()) && *subids != SubIds::File {
                if *subids == SubIds::Append {
                    overlay.subordinate = Some(range(&change)?);
                }
                continue;
            }
            overlay.entries.push(Entry { path: change.path, state: change.after });
        }
        overlay.entries.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(overlay)
    }
}

fn about(requirements: &Requirements, person: &Person, profile: &str) -> String {
    let stacks: Vec<&str> = requirements.stacks.iter().map(|stack| stack.as_str()).collect();
    let Person { name, uid, .. } = person;
    format!("{} for {name} (UID {uid}), profile {profile}", stacks.join(", "))
}

fn kernel_words(requirements: &Requirements) -> Vec<KernelWord> {
    let words = requirements.kernel_arguments.iter().filter_map(|(argument, demands)| {
        let most = demands.iter().max_by_key(|demand| demand.level)?;
        let (word, why) = (argument.word.clone(), most.why.clone());
        Some(KernelWord { word, wanted: argument.wanted, why, level: most.level })
    });
    words.collect()
}

/// The range in a line of `subuid(5)`.
fn range(change: &Change) -> Result<Subordinate, FixError> {
    let refused = || FixError::Refused(format!("{}: expected a line of subuid(5)", change.path));
    let State::File { content: Content::Text(text), .. } = &change.after else { return Err(refused()) };
    let mut parts = text.trim_end().rsplit(':').map(str::parse);
    match (parts.next(), parts.next()) {
        (Some(Ok(count)), Some(Ok(start))) => Ok(Subordinate { start, count }),
        _ => Err(refused()),
    }
}

impl Overlay {
    /// All entries, and the directories above them that are not theirs as `parent`, so that nothing
    /// comes before what it is in.
    pub fn with_parents(&self, parent: &State) -> Vec<(String, State)> {
        let mut all: BTreeMap<String, State> = BTreeMap::new();
        for Entry { path, .. } in &self.entries {
            for (at, _) in path.match_indices('/').filter(|(at, _)| *at > 0) {
                all.insert(path.get(..at).unwrap_or_default().to_owned(), parent.clone());
            }
        }
        all.extend(self.entries.iter().map(|entry| (entry.path.clone(), entry.state.clone())));
        all.into_iter().collect()
    }
}

#[cfg(test)]
mod tests;
