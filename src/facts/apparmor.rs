//! AppArmor, as far as it decides who may create a user namespace: which profile attaches to a
//! program, whether it has a `userns` rule, and which profiles are loaded. Other rules are not judged.

mod loaded;
mod pattern;
mod profile;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

pub use loaded::LoadedProfiles;
pub use profile::{Include, Profile};

use super::{Evidence, Facts, Source};
use crate::host::{Entry, Fact, Kind, OrAbsent, SpecialFile, Unread};
use pattern::{Expansion, Matched};
use profile::{Assignment, Policy};

const ROOT: &str = "/etc/apparmor.d";
const ENABLED: &str = "/sys/module/apparmor/parameters/enabled";
/// Endings of what packagers and editors leave behind, which `apparmor_parser` skips.
const LEFTOVERS: [&str; 13] = [
    ".dpkg-new",
    ".dpkg-old",
    ".dpkg-dist",
    ".dpkg-bak",
    ".dpkg-remove",
    ".pacsave",
    ".pacnew",
    ".rpmnew",
    ".rpmsave",
    ".orig",
    ".rej",
    ".md",
    "~",
];
/// How many files one profile may include. The deepest abstractions come to some forty.
const INCLUDE_LIMIT: usize = 256;
/// How many characters of patterns one path is compared with: a hundred times what Ubuntu ships.
const PATTERN_LIMIT_CHARS: usize = 1 << 20;
/// The first ABI that knows the `userns` rule (`apparmor.d(5)`, "Feature ABI").
const USERNS_ABI: u32 = 4;

/// The profiles on disk.
#[derive(Debug, Default)]
pub struct Profiles {
    /// Every profile that is not disabled, without those inside of others.
    pub profiles: Vec<Profile>,
    /// Files that could not be read, so that profiles may be missing.
    pub unread: Vec<Unread>,
}

/// Whether a profile lets a program create a user namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsernsGrant {
    /// It does, by this rule or flag.
    Granted(Evidence),
    /// A rule forbids it, which beats one that allows.
    Forbidden(Evidence),
    /// No rule speaks of it.
    NotGranted,
    /// That cannot be told, and why.
    Unknown(String),
}

/// The profile on disk that attaches to a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The name that the kernel lists it by when it is loaded.
    pub profile: String,
    /// Where it begins.
    pub at: Evidence,
    /// What it says of user namespaces.
    pub userns: UsernsGrant,
}

/// The profile that confines a program, with its rules as they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// The name that the kernel lists it by when it is loaded.
    pub profile: String,
    /// Where it begins.
    pub at: Evidence,
    /// The lines of its file and of all that it includes, without comments.
    pub rules: Vec<String>,
}

/// What [`Facts::apparmor_confinement`] comes to, as a fact of its own.
struct Confined(Result<Option<Confinement>, String>);

/// Which profile on disk attaches to a program when it is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// None: it stays unconfined.
    None,
    /// This one.
    Profile(Attached),
    /// That cannot be told, and why.
    Unknown(String),
}

impl Facts {
    /// Whether AppArmor is enabled in the running kernel; a kernel without it counts as not.
    ///
    /// # Errors
    /// When that cannot be read, or nothing runs.
    pub fn apparmor_enabled(&self) -> Fact<bool> {
        self.need_running("whether AppArmor is enabled")?;
        Ok(self.source(ENABLED).or_absent()?.is_some_and(|source| source.text().trim() == "Y"))
    }

    /// The profiles in `/etc/apparmor.d`, without those that a link in `disable/` switches off.
    ///
    /// # Errors
    /// When the directory is not there or cannot be listed. Unreadable files are kept in the result.
    pub fn apparmor_profiles(&self) -> Fact<Rc<Profiles>> {
        self.memo_fact("", || {
            let disabled = self.list(&format!("{ROOT}/disable")).or_absent()?;
            let complain = self.list(&format!("{ROOT}/force-complain")).or_absent()?;
            let is_in = |list: &Option<Rc<[Entry]>>, name: &str| {
                list.iter().flat_map(|entries| entries.iter()).any(|entry| entry.name == name)
            };
            let mut found = Profiles::default();
            for entry in self.list(ROOT)?.iter() {
                let name = &entry.name;
                if entry.is_dir || is_skipped(name) || is_in(&disabled, name) {
                    continue;
                }
                let source = match self.source(&format!("{ROOT}/{name}")) {
                    Ok(source) => source,
                    Err(Unread::Special { found: SpecialFile::Dir | SpecialFile::Device, .. }) => continue,
                    Err(why) => {
                        found.unread.push(why);
                        continue;
                    }
                };
                let mut policy = Policy::parse(&source);
                if is_in(&complain, name) {
                    policy.profiles.iter_mut().for_each(|p| p.flags.push("complain".to_owned()));
                }
                found.profiles.append(&mut policy.profiles);
            }
            Ok(found)
        })
    }

    /// Which profile on disk attaches to the program at `path`, which must be free of links: the
    /// kernel compares the path of the file that is executed. Whether the profile is loaded is told
    /// by [`Facts::apparmor_loaded`].
    ///
    /// # Errors
    /// As [`Facts::apparmor_profiles`].
    pub fn apparmor_attachment(&self, path: &str) -> Fact<Rc<Attachment>> {
        let profiles = self.apparmor_profiles()?;
        self.memo_fact(path, || Ok(self.attachment(&profiles, path)))
    }

    /// The profile that confines the program at `path`, as [`Facts::apparmor_attachment`] finds it; `None`
    /// where none attaches, or one that only gives it a name or only logs. Inside, why it cannot be told.
    ///
    /// # Errors
    /// As [`Facts::apparmor_profiles`].
    pub fn apparmor_confinement(&self, path: &str) -> Fact<Result<Option<Confinement>, String>> {
        let profiles = self.apparmor_profiles()?;
        let attachment = self.apparmor_attachment(path)?;
        let confined = self.memo(path, || {
            Confined(match &*attachment {
                Attachment::None => Ok(None),
                Attachment::Unknown(why) => Err(why.clone()),
                Attachment::Profile(attached) => self.confinement(&profiles, attached),
            })
        });
        Ok(confined.0.clone())
    }

    fn confinement(&self, profiles: &Profiles, attached: &Attached) -> Result<Option<Confinement>, String> {
        let lenient = ["complain", "unconfined", "default_allow"];
        let Some(profile) = profiles.profiles.iter().find(|profile| profile.at == attached.at) else {
            return Ok(None);
        };
        if profile.flags.iter().any(|flag| lenient.contains(&flag.as_str())) {
            return Ok(None);
        }
        let own = self.source(&profile.at.path).map_err(|why| why.to_string())?;
        let (mut sources, trouble) = self.included(profile.includes.clone());
        sources.push(own);
        if let Some(why) = trouble {
            return Err(why);
        }
        let lines = sources.iter().flat_map(|source| source.lines());
        let rules = lines.map(|(_, line)| line.split('#').next().unwrap_or_default().trim().to_owned());
        Ok(Some(Confinement {
            profile: profile.name.clone(),
            at: profile.at.clone(),
            rules: rules.filter(|rule| !rule.is_empty()).collect(),
        }))
    }

    fn attachment(&self, profiles: &Profiles, path: &str) -> Attachment {
        let mut best: Option<(Matched, &Profile)> = None;
        let mut rival = None;
        let mut doubt = profiles.unread.first().map(ToString::to_string);
        let mut left = PATTERN_LIMIT_CHARS;
        for profile in &profiles.profiles {
            let Some(attachment) = &profile.attachment else { continue };
            let matched = match self.expand(profile, attachment) {
                Expansion::Globs(globs) => {
                    left = left.saturating_sub(globs.iter().map(|glob| glob.len() + 1).sum());
                    if left == 0 {
                        return Attachment::Unknown(format!("{ROOT}: too many profiles to compare"));
                    }
                    globs.iter().filter_map(|glob| pattern::matches(glob, path)).max()
                }
                Expansion::Unknown(why) => {
                    doubt = doubt.or(Some(format!("{}: {attachment}: {why}", profile.at)));
                    None
                }
            };
            let Some(matched) = matched else { continue };
            match &best {
                Some((better, _)) if *better > matched => {}
                Some((equal, other)) if *equal == matched => rival = Some(other.at.to_string()),
                _ => {
                    best = Some((matched, profile));
                    rival = None;
                }
            }
        }
        match (best, rival, doubt) {
            (Some((_, profile)), Some(other), _) => {
                Attachment::Unknown(format!("profiles at {} and {other} attach to it alike", profile.at))
            }
            // What could not be read or resolved can beat a pattern, but not a path in full.
            (Some((Matched::Exact, profile)), None, _) | (Some((_, profile)), None, None) => {
                Attachment::Profile(Attached {
                    profile: profile.name.clone(),
                    at: profile.at.clone(),
                    userns: self.userns_grant(profile),
                })
            }
            (_, None, Some(doubt)) => Attachment::Unknown(doubt),
            (None, _, None) | (None, Some(_), Some(_)) => Attachment::None,
        }
    }

    /// The patterns that an attachment stands for, variables replaced.
    fn expand(&self, profile: &Profile, attachment: &str) -> Expansion {
        if !attachment.contains("@{") {
            return pattern::expand(attachment, &BTreeMap::new());
        }
        let shared = self.variables(&profile.preamble);
        let mut variables = shared.0.clone();
        for Assignment { name, values } in &profile.assignments {
            variables.entry(name.clone()).or_default().extend(values.iter().cloned());
        }
        pattern::expand(attachment, &variables)
    }

    /// The variables that are set by files which a preamble includes. What cannot be read leaves
    /// variables unset, and so makes those attachments unknown that use them.
    fn variables(&self, preamble: &[Include]) -> Rc<Variables> {
        let paths: Vec<&str> = preamble.iter().map(|include| include.path.as_str()).collect();
        self.memo(&paths.join("\n"), || {
            let mut variables = Variables::default();
            let (sources, _) = self.included(preamble.to_vec());
            // A variable is set once and then only added to, so that the order does not matter.
            for Assignment { name, values } in
                sources.iter().flat_map(|source| Policy::parse(source).assignments)
            {
                variables.0.entry(name).or_default().extend(values);
            }
            variables
        })
    }

    fn userns_grant(&self, profile: &Profile) -> UsernsGrant {
        let lenient = ["complain", "default_allow"];
        if profile.flags.iter().any(|flag| lenient.contains(&flag.as_str())) {
            return UsernsGrant::Granted(profile.at.clone());
        }
        let (sources, why) = self.included(profile.includes.clone());
        let included: Vec<Policy> = sources.iter().map(|source| Policy::parse(source)).collect();
        let rules = || profile.userns.iter().chain(included.iter().flat_map(|policy| &policy.userns));
        if let Some(rule) = rules().find(|rule| !rule.value) {
            return UsernsGrant::Forbidden(rule.at.clone());
        }
        match (rules().next(), why) {
            (Some(rule), None) => UsernsGrant::Granted(rule.at.clone()),
            (_, Some(why)) => UsernsGrant::Unknown(why),
            (None, None) if profile.abi.is_none_or(|abi| abi < USERNS_ABI) => UsernsGrant::Unknown(format!(
                "{}: the policy ABI of the profile is older than the userns rule",
                profile.at
            )),
            (None, None) => UsernsGrant::NotGranted,
        }
    }

    /// The files that are included, those they include in turn, and why one could not be read.
    fn included(&self, includes: Vec<Include>) -> (Vec<Rc<Source>>, Option<String>) {
        let mut sources: Vec<Rc<Source>> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut open = includes;
        let mut trouble = None;
        while let Some(include) = open.pop() {
            if !seen.insert(include.path.clone()) {
                continue;
            }
            if seen.len() > INCLUDE_LIMIT {
                return (sources, Some(format!("more than {INCLUDE_LIMIT} files are included")));
            }
            match self.read_include(&include) {
                Ok(Included::File(source)) => {
                    let policy = Policy::parse(&source);
                    open.extend(policy.includes.into_iter().chain(policy.preamble));
                    sources.push(source);
                }
                Ok(Included::Dir(includes)) => open.extend(includes),
                Err(Unread::Absent { .. }) if include.optional => {}
                Err(why) => trouble = Some(why.to_string()),
            }
        }
        (sources, trouble)
    }

    /// Including a directory includes what is in it.
    fn read_include(&self, include: &Include) -> Fact<Included> {
        if self.stat(&include.path)?.kind != Kind::Dir {
            return Ok(Included::File(self.source(&include.path)?));
        }
        let entries = self.list(&include.path)?;
        let files = entries.iter().filter(|entry| !entry.is_dir && !is_skipped(&entry.name));
        let dir = &include.path;
        let include = |name: &str| Include { path: format!("{dir}/{name}"), optional: true };
        Ok(Included::Dir(files.map(|entry| include(&entry.name)).collect()))
    }
}

/// The values of variables; an own type because facts are remembered by type.
#[derive(Default)]
struct Variables(BTreeMap<String, Vec<String>>);

enum Included {
    File(Rc<Source>),
    Dir(Vec<Include>),
}

fn is_skipped(name: &str) -> bool {
    name.starts_with('.') || name == "README" || LEFTOVERS.iter().any(|ending| name.ends_with(ending))
}

#[cfg(test)]
mod tests;
