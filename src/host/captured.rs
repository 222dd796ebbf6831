//! A host as `edgeprep capture` (or a hand that made a fixture) wrote it: the files that were read,
//! and a `host.toml` with what is not a file or does not survive a copy.

use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::path::Path;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::tree::{Tree, scan_lines};
use super::{Caller, DATABASE_LIMIT_BYTES, Entry, Fact, Kind, Mode, Space, SpecialFile, Stat, Unread};

/// The name of the description inside a capture.
pub(super) const HOST_TOML: &str = "host.toml";
/// The format that this version writes and reads.
pub(super) const FORMAT: u32 = 1;
/// The most that is taken from a tar, in bytes.
const ARCHIVE_LIMIT_BYTES: u64 = 256 << 20;

/// The description of a captured host.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostToml {
    /// The format of this file.
    pub format: u32,
    /// What wrote it, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub origin: String,
    /// Whether the system was running (an image root is not).
    #[serde(default = "yes")]
    pub running: bool,
    /// Whether a path that is not here was absent there; otherwise nobody looked.
    #[serde(default)]
    pub complete: bool,
    /// Whether machine-id and host name were replaced by a hash.
    #[serde(default)]
    pub identity_hashed: bool,
    /// What the clock said, in seconds since 1970.
    pub now_secs: Option<i64>,
    /// The names of the users that were asked for, if any were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    /// Who captured.
    #[serde(default)]
    pub caller: CallerRecord,
    /// What `stat(2)` and the like said, by absolute path.
    #[serde(default)]
    pub paths: BTreeMap<String, PathRecord>,
    /// Directory listings, by absolute path; a directory's name ends in `/`.
    #[serde(default)]
    pub listings: BTreeMap<String, Vec<String>>,
    /// File system sizes, by absolute path.
    #[serde(default)]
    pub space: BTreeMap<String, SpaceRecord>,
}

fn yes() -> bool {
    true
}

/// [`Caller`], stored.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallerRecord {
    /// The effective UID.
    pub uid: u32,
    /// The effective GID.
    pub gid: u32,
    /// The variables.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

/// What is known of one path beside its content. All parts are optional.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathRecord {
    /// Why it could not be read: `absent`, `denied`, `fifo`, `device`, `socket`, `directory`, `file`,
    /// `too-large` or `errno N`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why its content could not be read, while `stat(2)` could; the same words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_error: Option<String>,
    /// `file` (the default), `dir`, `char MAJOR:MINOR`, `block`, `fifo`, `socket`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The permission bits in octal; the default is 0644, for a directory 0755.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The owner; the default is root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The group; the default is root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// The size in bytes; the default is that of the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// When it was last changed, in nanoseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_ns: Option<i64>,
    /// The target of a symbolic link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// The `security.capability` attribute in hexadecimal; empty for "has none".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
}

/// [`Space`], stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpaceRecord {
    /// See [`Space::total_bytes`].
    pub total_bytes: u64,
    /// See [`Space::available_bytes`].
    pub available_bytes: u64,
    /// See [`Space::inodes`].
    pub inodes: u64,
    /// See [`Space::inodes_free`].
    pub inodes_free: u64,
}

enum Files {
    Folder(Tree),
    Memory(BTreeMap<String, Vec<u8>>),
}

pub(super) struct Captured {
    toml: HostToml,
    files: Files,
}

impl Captured {
    pub(super) fn open(path: &Path) -> Fact<Captured> {
        let shown = path.to_string_lossy().into_owned();
        match Tree::contained(path) {
            Ok(tree) => {
                let (_, text) = tree.read(HOST_TOML, DATABASE_LIMIT_BYTES).map_err(|why| match why {
                    Unread::Absent { .. } => no_description(&shown),
                    why => why,
                })?;
                let toml = parse(&format!("{shown}/{HOST_TOML}"), &text)?;
                Ok(Captured { toml, files: Files::Folder(tree) })
            }
            Err(Unread::Malformed { line: None, expected, .. }) if expected == "expected a directory" => {
                let (_, bytes) = Tree::live().read(&shown, ARCHIVE_LIMIT_BYTES)?;
                let mut files = unpack(&shown, &bytes)?;
                let text = files.remove(&format!("/{HOST_TOML}")).ok_or_else(|| no_description(&shown))?;
                Ok(Captured {
                    toml: parse(&format!("{shown}:{HOST_TOML}"), &text)?,
                    files: Files::Memory(files),
                })
            }
            Err(why) => Err(why),
        }
    }

    pub(super) fn in_memory(toml: HostToml, files: BTreeMap<String, Vec<u8>>) -> Captured {
        Captured { toml, files: Files::Memory(files) }
    }

    pub(super) fn toml(&self) -> &HostToml {
        &self.toml
    }

    pub(super) fn mode(&self) -> Mode {
        if self.toml.running { Mode::Capture } else { Mode::Image }
    }

    pub(super) fn caller(&self) -> Caller {
        let CallerRecord { uid, gid, environment } = self.toml.caller.clone();
        Caller { uid, gid, environment }
    }

    fn missing<T>(&self, path: &str) -> Fact<T> {
        let absent_above = |(at, _): (usize, &str)| {
            at > 0 && self.toml.paths.get(&path[..at]).is_some_and(|r| r.error.as_deref() == Some("absent"))
        };
        let known = self.toml.complete || path.match_indices('/').any(absent_above);
        let path = path.to_owned();
        Err(if known { Unread::Absent { path } } else { Unread::NotCaptured { path } })
    }

    /// What the description says of a path: an error ends the matter.
    fn record(&self, path: &str) -> Fact<Option<&PathRecord>> {
        let record = self.toml.paths.get(path);
        match record.and_then(|r| r.error.as_deref()) {
            Some(error) => Err(stored_error(path, error)),
            None => Ok(record),
        }
    }

    fn content(&self, path: &str, limit_bytes: u64) -> Fact<Vec<u8>> {
        let found = match &self.files {
            Files::Folder(tree) => tree.read(path, limit_bytes).map(|(_, bytes)| bytes),
            Files::Memory(files) => match files.get(path) {
                Some(bytes) if bytes.len() as u64 > limit_bytes => {
                    Err(Unread::TooLarge { path: path.to_owned(), limit_bytes })
                }
                Some(bytes) => Ok(bytes.clone()),
                None => Err(Unread::Absent { path: path.to_owned() }),
            },
        };
        match found {
            Err(Unread::Absent { .. }) => self.missing(path),
            other => other,
        }
    }

    /// As [`Captured::record`], for what needs the content.
    fn readable(&self, path: &str) -> Fact<Option<&PathRecord>> {
        let record = self.record(path)?;
        match record.and_then(|r| r.read_error.as_deref()) {
            Some(error) => Err(stored_error(path, error)),
            None => Ok(record),
        }
    }

    pub(super) fn read(&self, path: &str, limit_bytes: u64) -> Fact<(Stat, Vec<u8>)> {
        let record = self.readable(path)?;
        let bytes = self.content(path, limit_bytes)?;
        Ok((stored_stat(record, Kind::File, bytes.len() as u64), bytes))
    }

    pub(super) fn head(&self, path: &str, limit_bytes: u64) -> Fact<(Stat, Vec<u8>)> {
        let record = self.readable(path)?;
        let mut bytes = match &self.files {
            Files::Folder(tree) => match tree.head(path, limit_bytes) {
                Err(Unread::Absent { .. }) => self.missing(path)?,
                other => other?.1,
            },
            Files::Memory(_) => self.content(path, ARCHIVE_LIMIT_BYTES)?,
        };
        bytes.truncate(usize::try_from(limit_bytes).unwrap_or(usize::MAX));
        Ok((stored_stat(record, Kind::File, bytes.len() as u64), bytes))
    }

    pub(super) fn scan(&self, path: &str, limit_bytes: u64, line: &mut dyn FnMut(&[u8]) -> bool) -> Fact<()> {
        self.readable(path)?;
        match &self.files {
            Files::Folder(tree) => match tree.scan(path, limit_bytes, line) {
                Err(Unread::Absent { .. }) => self.missing(path),
                other => other,
            },
            Files::Memory(_) => {
                let bytes = self.content(path, limit_bytes)?;
                scan_lines(path, BufReader::new(bytes.as_slice()), line)
            }
        }
    }

    pub(super) fn list(&self, path: &str) -> Fact<Vec<Entry>> {
        if let Some(names) = self.toml.listings.get(path) {
            let bare = |name: &String| name.trim_end_matches('/').to_owned();
            let entry = |name: &String| Entry { name: bare(name), is_dir: name.ends_with('/') };
            let mut entries: Vec<Entry> = names.iter().map(entry).collect();
            entries.sort();
            return Ok(entries);
        }
        self.readable(path)?;
        let found = match &self.files {
            Files::Folder(tree) => tree.list(path),
            Files::Memory(files) => list_memory(files, path),
        };
        match found {
            Ok(_) if !self.toml.complete => Err(Unread::NotCaptured { path: path.to_owned() }),
            Err(Unread::Absent { .. }) => self.missing(path),
            other => other,
        }
    }

    pub(super) fn lstat(&self, path: &str) -> Fact<Stat> {
        match self.link_target(path) {
            Ok(Some(target)) => Ok(stored_stat(None, Kind::Link, target.len() as u64)),
            _ => self.stat(path),
        }
    }

    pub(super) fn stat(&self, path: &str) -> Fact<Stat> {
        // Of a path that stat(2) was not asked of only links and the like are known.
        let asked = |r: &&PathRecord| r.kind.is_some() || r.mode.is_some() || r.uid.is_some();
        if let Some(record) = self.record(path)?.filter(|r| self.toml.complete || asked(r)) {
            let size = || self.content(path, DATABASE_LIMIT_BYTES).map_or(0, |bytes| bytes.len() as u64);
            return Ok(stored_stat(Some(record), Kind::File, record.size.unwrap_or_else(size)));
        }
        if self.toml.complete && self.toml.listings.contains_key(path) {
            return Ok(stored_stat(None, Kind::Dir, 0));
        }
        let found = match &self.files {
            Files::Folder(tree) => tree.stat(path, true).map(|stat| (stat.kind, stat.size_bytes)),
            Files::Memory(files) => match files.get(path) {
                Some(bytes) => Ok((Kind::File, bytes.len() as u64)),
                None => list_memory(files, path).map(|_| (Kind::Dir, 0)),
            },
        };
        match found {
            // Only a description can vouch for modes and owners, so what it does not name was not looked at.
            Ok((kind, size)) if self.toml.complete => Ok(stored_stat(None, kind, size)),
            Ok(_) | Err(Unread::Absent { .. }) => self.missing(path),
            Err(why) => Err(why),
        }
    }

    pub(super) fn link_target(&self, path: &str) -> Fact<Option<String>> {
        match self.record(path)? {
            Some(record) => Ok(record.link.clone()),
            None => match &self.files {
                Files::Folder(tree) if self.toml.complete => tree.link_target(path),
                Files::Folder(_) | Files::Memory(_) => self.stat(path).map(|_| None),
            },
        }
    }

    pub(super) fn capability(&self, path: &str) -> Fact<Option<Vec<u8>>> {
        match self.readable(path)?.map(|r| r.capability.as_deref()) {
            Some(Some("")) => Ok(None),
            Some(Some(hex)) => from_hex(hex).map(Some).ok_or_else(|| Unread::Malformed {
                path: HOST_TOML.to_owned(),
                line: None,
                expected: format!("capability of {path}: expected hexadecimal digits"),
            }),
            Some(None) | None if self.toml.complete => self.stat(path).map(|_| None),
            Some(None) | None => Err(Unread::NotCaptured { path: path.to_owned() }),
        }
    }

    pub(super) fn changed_ns(&self, path: &str) -> Fact<i64> {
        match self.record(path)?.and_then(|record| record.changed_ns) {
            Some(changed_ns) => Ok(changed_ns),
            // Whoever described the host did not ask, or there is nothing there.
            None => self.stat(path).and(Err(Unread::NotCaptured { path: path.to_owned() })),
        }
    }

    pub(super) fn space(&self, path: &str) -> Fact<Space> {
        match self.toml.space.get(path) {
            Some(s) => Ok(Space {
                total_bytes: s.total_bytes,
                available_bytes: s.available_bytes,
                inodes: s.inodes,
                inodes_free: s.inodes_free,
            }),
            None => {
                self.record(path)?;
                Err(Unread::NotCaptured { path: path.to_owned() })
            }
        }
    }
}

fn no_description(shown: &str) -> Unread {
    Unread::Malformed {
        path: shown.to_owned(),
        line: None,
        expected: format!("no {HOST_TOML} in it: expected a folder or tar made by edgeprep capture"),
    }
}

fn parse(path: &str, text: &[u8]) -> Fact<HostToml> {
    let malformed = |line, expected| Unread::Malformed { path: path.to_owned(), line, expected };
    let text = std::str::from_utf8(text).map_err(|_| malformed(None, "expected UTF-8".to_owned()))?;
    let toml: HostToml = toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| crate::facts::line_of(text, span.start));
        malformed(line, error.message().to_owned())
    })?;
    if toml.format != FORMAT {
        return Err(malformed(None, format!("format {}: expected {FORMAT}", toml.format)));
    }
    Ok(toml)
}

fn unpack(shown: &str, bytes: &[u8]) -> Fact<BTreeMap<String, Vec<u8>>> {
    let malformed = |what: &str| Unread::Malformed {
        path: shown.to_owned(),
        line: None,
        expected: format!("expected a tar made by edgeprep capture: {what}"),
    };
    let mut archive = tar::Archive::new(bytes);
    let mut files = BTreeMap::new();
    for entry in archive.entries().map_err(|error| malformed(&error.to_string()))? {
        let entry = entry.map_err(|error| malformed(&error.to_string()))?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path().map_err(|error| malformed(&error.to_string()))?;
        let name = path.to_str().ok_or_else(|| malformed("a name that is not UTF-8"))?;
        let name = format!("/{}", name.trim_start_matches("./").trim_start_matches('/'));
        let mut content = Vec::new();
        // A sparse entry can claim far more than the archive holds.
        entry
            .take(ARCHIVE_LIMIT_BYTES)
            .read_to_end(&mut content)
            .map_err(|error| malformed(&error.to_string()))?;
        files.insert(name, content);
    }
    Ok(files)
}

fn list_memory(files: &BTreeMap<String, Vec<u8>>, path: &str) -> Fact<Vec<Entry>> {
    let prefix = format!("{}/", path.trim_end_matches('/'));
    let mut entries: Vec<Entry> = Vec::new();
    for rest in files.range(prefix.clone()..).map_while(|(p, _)| p.strip_prefix(&prefix)) {
        let (name, is_dir) = rest.split_once('/').map_or((rest, false), |(name, _)| (name, true));
        if entries.last().is_none_or(|last| last.name != name) {
            entries.push(Entry { name: name.to_owned(), is_dir });
        }
    }
    entries.sort();
    entries.dedup();
    match entries.is_empty() {
        true if files.contains_key(path) => {
            Err(Unread::Special { path: path.to_owned(), found: SpecialFile::File })
        }
        true => Err(Unread::Absent { path: path.to_owned() }),
        false => Ok(entries),
    }
}

fn stored_stat(record: Option<&PathRecord>, kind: Kind, size_bytes: u64) -> Stat {
    let kind = record.and_then(|r| r.kind.as_deref()).map_or(kind, |name| match name.split_once(' ') {
        Some(("char", device)) => {
            let mut numbers = device.split(':').map(|n| n.parse().unwrap_or(0));
            Kind::Char(numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
        }
        _ => match name {
            "dir" => Kind::Dir,
            "block" => Kind::Block,
            "fifo" => Kind::Fifo,
            "socket" => Kind::Socket,
            _ => Kind::File,
        },
    });
    let default_mode = if kind == Kind::Dir { 0o755 } else { 0o644 };
    let mode = record.and_then(|r| r.mode.as_deref()).and_then(|m| u32::from_str_radix(m, 8).ok());
    Stat {
        kind,
        mode: mode.unwrap_or(default_mode),
        uid: record.and_then(|r| r.uid).unwrap_or(0),
        gid: record.and_then(|r| r.gid).unwrap_or(0),
        size_bytes: record.and_then(|r| r.size).unwrap_or(size_bytes),
    }
}

fn stored_error(path: &str, error: &str) -> Unread {
    let path = path.to_owned();
    let special_file = |kind| Unread::Special { path: path.clone(), found: SpecialFile::from(kind) };
    match error {
        "absent" => Unread::Absent { path },
        "denied" => Unread::Denied { path },
        "fifo" => special_file(Kind::Fifo),
        "device" => special_file(Kind::Block),
        "socket" => special_file(Kind::Socket),
        "directory" => special_file(Kind::Dir),
        "file" => special_file(Kind::File),
        "too-large" => Unread::TooLarge { path, limit_bytes: super::CONFIG_LIMIT_BYTES },
        other => {
            let number = other.strip_prefix("errno ").and_then(|n| n.parse().ok());
            Unread::Failed { path, errno: number.map_or(Errno::EIO, Errno::from_raw) }
        }
    }
}

/// The inverse of [`stored_error`]; `None` for what is not a fact about the host.
pub(super) fn error_word(why: &Unread) -> Option<String> {
    Some(match why {
        Unread::Absent { .. } => "absent".to_owned(),
        Unread::Denied { .. } => "denied".to_owned(),
        Unread::TooLarge { .. } => "too-large".to_owned(),
        Unread::Failed { errno, .. } => format!("errno {}", *errno as i32),
        Unread::Special { found, .. } => match found {
            SpecialFile::Dir => "directory",
            SpecialFile::File => "file",
            SpecialFile::Fifo => "fifo",
            SpecialFile::Device => "device",
            SpecialFile::Socket => "socket",
        }
        .to_owned(),
        Unread::Malformed { .. } | Unread::NotCaptured { .. } | Unread::NotRunning { .. } => return None,
    })
}

pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}
