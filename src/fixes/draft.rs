//! What the kinds of artifacts share while a fix is put together: what is at a path, who writes it, and
//! whether a file there would be read at all.

use super::{Artifact, FixError, Fixes, Layer, Options, Step, Wanted};
use crate::facts::Facts;
use crate::facts::users::User;
use crate::host::{OrAbsent, Unread};
use crate::plan::{Activation, Content, State, Writer};

/// The permission bits of what everybody may read.
pub(super) const PUBLIC: u32 = 0o644;

/// A file of ours, and the files of the same name that it competes with.
pub(super) struct Place {
    pub(super) dir: String,
    pub(super) name: String,
    pub(super) by: Writer,
    /// The permission bits, where it is new.
    pub(super) mode: u32,
    /// Directories whose file of this name keeps ours from being read.
    pub(super) higher: Vec<String>,
    /// Directories whose file of this name ours keeps from being read.
    pub(super) lower: Vec<String>,
}

impl Place {
    pub(super) fn path(&self) -> String {
        format!("{}/{}", self.dir, self.name)
    }
}

/// A fix that is being put together.
pub(super) struct Draft<'a> {
    pub(super) facts: &'a Facts,
    pub(super) options: &'a Options,
    artifacts: Vec<Artifact>,
    activations: Vec<Activation>,
    manual: Vec<Step>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(facts: &'a Facts, options: &'a Options) -> Draft<'a> {
        Draft { facts, options, artifacts: Vec::new(), activations: Vec::new(), manual: Vec::new() }
    }

    /// The fix, its activations in the order in which they depend on each other.
    pub(super) fn finish(mut self) -> Fixes {
        self.activations.sort_by_key(rank);
        Fixes { artifacts: self.artifacts, activations: self.activations, manual: self.manual }
    }

    /// Whether anything that runs is told.
    pub(super) fn activates(&self) -> bool {
        self.facts.running() && !self.options.no_activate
    }

    pub(super) fn activate(&mut self, activation: Activation) {
        if self.activates() && !self.activations.contains(&activation) {
            self.activations.push(activation);
        }
    }

    pub(super) fn step(&mut self, summary: impl Into<String>) {
        self.step_with(summary, Vec::new());
    }

    pub(super) fn step_with(&mut self, summary: impl Into<String>, commands: Vec<String>) {
        let step = Step { summary: summary.into(), commands };
        if !self.manual.contains(&step) {
            self.manual.push(step);
        }
    }

    pub(super) fn put(&mut self, path: &str, by: Writer, wanted: Wanted) {
        self.artifacts.retain(|artifact| artifact.path != path);
        self.artifacts.push(Artifact { path: path.to_owned(), by, wanted });
    }

    /// What the fix so far wants to be in the file at `path`.
    pub(super) fn planned(&self, path: &str) -> Option<&[u8]> {
        match self.wanted(path)? {
            Wanted::File { bytes, .. } => Some(bytes),
            Wanted::Link(_) | Wanted::CopyOf(_) | Wanted::Mode(_) | Wanted::Capability(_) => None,
        }
    }

    /// What the fix so far wants to be at `path`.
    pub(super) fn wanted(&self, path: &str) -> Option<&Wanted> {
        self.artifacts.iter().find(|artifact| artifact.path == path).map(|artifact| &artifact.wanted)
    }

    /// Changes a file of ours, of which `change` gets the text; `None` where there is no file. False
    /// where that would be in vain, and a person is told.
    pub(super) fn edit(
        &mut self,
        place: &Place,
        change: impl FnOnce(Option<&str>) -> Result<String, FixError>,
    ) -> Result<bool, FixError> {
        let path = place.path();
        if let Some(bytes) = self.planned(&path) {
            let text = utf8(&path, bytes)?.to_owned();
            let edited = change(Some(&text))?;
            self.put(&path, place.by.clone(), Wanted::File { bytes: edited.into_bytes(), mode: place.mode });
            return Ok(true);
        }
        for dir in &place.higher {
            let other = format!("{dir}/{}", place.name);
            if self.facts.existing(&other)? != State::Absent {
                self.step(format!("remove {other}, which keeps {path} from being read, and run this again"));
                return Ok(false);
            }
        }
        let text = match self.facts.existing(&path)? {
            State::File { content, .. } => {
                self.allowed(&path, &place.by)?;
                Some(text_of(&path, &content)?)
            }
            State::Absent => self.lower(place)?,
            State::Link { target, .. } => {
                self.step(format!("remove {path}, which is a link to {target}, and run this again"));
                return Ok(false);
            }
            State::Dir { .. } => {
                self.step(format!("remove {path}, which is a directory, and run this again"));
                return Ok(false);
            }
        };
        let edited = change(text.as_deref())?;
        if text.as_ref() != Some(&edited) {
            self.put(&path, place.by.clone(), Wanted::File { bytes: edited.into_bytes(), mode: place.mode });
        }
        Ok(true)
    }

    /// What a user could not read is not read for them: what it holds would end up in a file of theirs.
    fn allowed(&self, path: &str, by: &Writer) -> Result<(), FixError> {
        let Writer::User(user) = by else { return Ok(()) };
        if self.facts.stat(path)?.allows(user.uid, &user.groups, 4) {
            return Ok(());
        }
        Err(Unread::Denied { path: path.to_owned() }.into())
    }

    /// The text of the file that ours would keep from being read: ours begins with it, so that what it
    /// says stays in effect.
    fn lower(&self, place: &Place) -> Result<Option<String>, FixError> {
        for dir in &place.lower {
            let path = format!("{dir}/{}", place.name);
            match self.facts.existing(&path)? {
                State::File { .. } if self.allowed(&path, &place.by).is_err() => {}
                State::File { content, .. } => return text_of(&path, &content).map(Some),
                State::Link { .. } => return Ok(None),
                State::Absent | State::Dir { .. } => {}
            }
        }
        Ok(None)
    }

    /// A file of a `*.d` family such as `sysctl.d`, in the layer that was chosen.
    pub(super) fn conf_place(&self, sub: &str, name: &str) -> Place {
        self.place_among(
            &self.facts.conf_dirs(sub),
            &format!("{}/{sub}", self.root("/etc", "/usr/lib")),
            name,
        )
    }

    /// A file in `dir`, which is one of `dirs`, the highest first.
    pub(super) fn place_among(&self, dirs: &[String], dir: &str, name: &str) -> Place {
        let higher = dirs.iter().take_while(|other| *other != dir).cloned().collect();
        let lower = dirs.iter().skip_while(|other| *other != dir).skip(1).cloned().collect();
        let (dir, name) = (dir.to_owned(), name.to_owned());
        Place { dir, name, by: Writer::System, mode: PUBLIC, higher, lower }
    }

    /// The administrator's or the vendor's, whichever layer was chosen.
    pub(super) fn root(&self, admin: &'static str, vendor: &'static str) -> &'static str {
        match self.options.layer {
            Layer::Admin => admin,
            Layer::Vendor => vendor,
        }
    }

    /// The user of this name.
    pub(super) fn user(&self, name: &str) -> Result<User, FixError> {
        let found = self.facts.user_by_name(name)?;
        found.ok_or_else(|| FixError::Refused(format!("{name}: expected a user of /etc/passwd")))
    }

    /// Whether there is a user manager to be told.
    pub(super) fn manager_runs(&self, user: &User) -> Result<bool, FixError> {
        Ok(self.activates() && self.facts.user_manager_runs(user.uid)?)
    }

    /// The directory `sub` below the user's home, with links of theirs followed; `None`, and a person
    /// is told, where it leads elsewhere.
    pub(super) fn home_dir(&mut self, user: &User, sub: &str) -> Result<Option<String>, FixError> {
        let home = user.home.trim_end_matches('/');
        if !home.starts_with('/') || self.facts.stat(&user.home).or_absent()?.is_none() {
            self.step(format!("create {}, the home directory of {}", user.home, user.name));
            return Ok(None);
        }
        let real_home = self.facts.real_path(home)?;
        let real = self.facts.real_path(&format!("{home}/{sub}"))?;
        match real.strip_prefix(&format!("{real_home}/")) {
            Some(below) => Ok(Some(format!("{home}/{below}"))),
            None => {
                self.step(format!("put {home}/{sub} below {home}: it leads to {real}"));
                Ok(None)
            }
        }
    }
}

/// Values by what they are of, in the order in which they came.
#[derive(Default)]
pub(super) struct Agreed(pub(super) Vec<(String, String)>);

impl Agreed {
    /// Adds a value; a second, other value of the same thing is a conflict.
    pub(super) fn add(&mut self, what: &str, value: &str) -> Result<(), FixError> {
        match self.0.iter().find(|(known, _)| known == what) {
            Some((_, known)) if known != value => {
                Err(FixError::Conflict { what: what.to_owned(), one: known.clone(), other: value.to_owned() })
            }
            Some(_) => Ok(()),
            None => {
                self.0.push((what.to_owned(), value.to_owned()));
                Ok(())
            }
        }
    }
}

/// A value from policy that goes into a line of a file.
pub(super) fn one_line(what: &str, value: &str) -> Result<(), FixError> {
    if value.chars().any(char::is_control) {
        return Err(FixError::Refused(format!("{what}: expected one line, found {value:?}")));
    }
    Ok(())
}

fn text_of(path: &str, content: &Content) -> Result<String, FixError> {
    utf8(path, content.bytes().unwrap_or_default()).map(str::to_owned)
}

pub(super) fn utf8<'t>(path: &str, bytes: &'t [u8]) -> Result<&'t str, FixError> {
    std::str::from_utf8(bytes).map_err(|_| {
        FixError::Unread(Unread::Malformed {
            path: path.to_owned(),
            line: None,
            expected: "expected UTF-8".to_owned(),
        })
    })
}

/// Units are read first; keys of modules exist only once these are loaded; a user manager that is to
/// start or to be told comes last.
fn rank(activation: &Activation) -> u8 {
    match activation {
        Activation::Reload => 0,
        Activation::ReloadLogind | Activation::SliceLimits { .. } => 1,
        Activation::LoadModules { .. } => 2,
        Activation::Sysctl { .. } => 3,
        Activation::DeviceMode { .. } => 4,
        Activation::ReloadAppArmor => 5,
        Activation::Linger { .. } | Activation::StartUserManager { .. } => 6,
        Activation::Delegation { .. } => 7,
        Activation::UserReload { .. } => 8,
        Activation::NewPodmanNamespace { .. } => 9,
        Activation::UserStart { .. } => 10,
        Activation::RestartUserManager { .. } => 11,
        Activation::NextBoot { .. } => 12,
    }
}
