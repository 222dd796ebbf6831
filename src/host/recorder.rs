//! Keeps a copy of all that a [`Host`](super::Host) reads, so that a capture holds exactly what the
//! checks look at, including what was absent or denied.

use std::collections::BTreeMap;

use super::captured::{CallerRecord, FORMAT, HostToml, PathRecord, SpaceRecord, error_word, to_hex};
use super::{Caller, Entry, Fact, Kind, Space, Stat};

/// What was read of a host.
#[derive(Debug)]
pub struct Recording {
    /// The description.
    pub toml: HostToml,
    /// The content of every file that was read, by absolute path.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Recording {
    pub(super) fn new(caller: &Caller) -> Recording {
        let Caller { uid, gid, environment } = caller.clone();
        let caller = CallerRecord { uid, gid, environment };
        let toml = HostToml { format: FORMAT, running: true, caller, ..HostToml::default() };
        Recording { toml, files: BTreeMap::new() }
    }

    fn path(&mut self, path: &str) -> &mut PathRecord {
        self.toml.paths.entry(path.to_owned()).or_default()
    }

    fn error<T>(&mut self, path: &str, got: &Fact<T>) {
        if let Some(word) = got.as_ref().err().and_then(error_word) {
            self.path(path).error = Some(word);
        }
    }

    /// An error of reading what may well exist.
    fn read_error<T>(&mut self, path: &str, got: &Fact<T>) {
        match got {
            Err(why) if !why.is_absent() => self.path(path).read_error = error_word(why),
            other => self.error(path, other),
        }
    }

    pub(super) fn read(&mut self, path: &str, got: &Fact<(Stat, Vec<u8>)>) {
        match got {
            Ok((stat, bytes)) => {
                self.files.insert(path.to_owned(), bytes.clone());
                // Most are 0644 root:root, which is what a reader assumes.
                if (stat.mode, stat.uid, stat.gid) != (0o644, 0, 0) {
                    let record = self.path(path);
                    record.mode = Some(format!("{:04o}", stat.mode));
                    record.uid = Some(stat.uid);
                    record.gid = Some(stat.gid);
                }
            }
            Err(_) => self.read_error(path, got),
        }
    }

    /// The size is kept beside the bytes, because the copy ends before the file does.
    pub(super) fn head(&mut self, path: &str, got: &Fact<(Stat, Vec<u8>)>) {
        match got {
            Ok((stat, bytes)) => {
                self.stat(path, &Ok(stat.clone()));
                if self.files.get(path).is_none_or(|known| known.len() < bytes.len()) {
                    self.files.insert(path.to_owned(), bytes.clone());
                }
            }
            Err(_) => self.read_error(path, got),
        }
    }

    pub(super) fn list(&mut self, path: &str, got: &Fact<Vec<Entry>>) {
        if let Ok(entries) = got {
            let names = entries.iter().map(|e| format!("{}{}", e.name, if e.is_dir { "/" } else { "" }));
            self.toml.listings.insert(path.to_owned(), names.collect());
        }
        self.read_error(path, got);
    }

    pub(super) fn stat(&mut self, path: &str, got: &Fact<Stat>) {
        if let Ok(stat) = got {
            let record = self.path(path);
            record.kind = match stat.kind {
                Kind::File | Kind::Link => None,
                Kind::Dir => Some("dir".to_owned()),
                Kind::Char(major, minor) => Some(format!("char {major}:{minor}")),
                Kind::Block => Some("block".to_owned()),
                Kind::Fifo => Some("fifo".to_owned()),
                Kind::Socket => Some("socket".to_owned()),
            };
            record.mode = Some(format!("{:04o}", stat.mode));
            record.uid = Some(stat.uid);
            record.gid = Some(stat.gid);
            record.size = Some(stat.size_bytes).filter(|_| stat.kind == Kind::File);
        }
        self.error(path, got);
    }

    pub(super) fn link_target(&mut self, path: &str, got: &Fact<Option<String>>) {
        if let Ok(target) = got {
            self.path(path).link.clone_from(target);
        }
        self.error(path, got);
    }

    pub(super) fn capability(&mut self, path: &str, got: &Fact<Option<Vec<u8>>>) {
        if let Ok(value) = got {
            self.path(path).capability = Some(value.as_deref().map(to_hex).unwrap_or_default());
        }
        self.read_error(path, got);
    }

    pub(super) fn changed_ns(&mut self, path: &str, got: &Fact<i64>) {
        if let Ok(changed_ns) = got {
            self.path(path).changed_ns = Some(*changed_ns);
        }
        self.error(path, got);
    }

    pub(super) fn now_secs(&mut self, got: &Fact<i64>) {
        self.toml.now_secs = got.as_ref().ok().copied();
    }

    pub(super) fn space(&mut self, path: &str, got: &Fact<Space>) {
        if let Ok(s) = got {
            let record = SpaceRecord {
                total_bytes: s.total_bytes,
                available_bytes: s.available_bytes,
                inodes: s.inodes,
                inodes_free: s.inodes_free,
            };
            self.toml.space.insert(path.to_owned(), record);
        }
        self.error(path, got);
    }
}

#[cfg(test)]
mod tests {
    use crate::host::{Host, Unread};

    #[test]
    fn the_time_of_a_change_is_recorded_where_it_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["asked", "other"] {
            #[expect(clippy::disallowed_methods, reason = "the test makes the files that the host reads")]
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        let host = Host::image(dir.path()).unwrap().recorded();
        let changed_ns = host.changed_ns("/asked").unwrap();
        assert!(changed_ns > 1_000_000_000_000_000_000, "after 2001: {changed_ns}");
        host.stat("/other").unwrap();
        let recording = host.into_recording().unwrap();
        let replayed = Host::from_memory(recording.toml, recording.files);
        assert_eq!(replayed.changed_ns("/asked"), Ok(changed_ns));
        assert_eq!(replayed.changed_ns("/other"), Err(Unread::NotCaptured { path: "/other".to_owned() }));
    }

    #[test]
    fn what_only_links_and_names_were_asked_of_has_no_mode() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::image(dir.path()).unwrap().recorded();
        assert_eq!(host.link_target("/"), Ok(None));
        assert_eq!(host.list("/"), Ok(Vec::new()));
        let recording = host.into_recording().unwrap();
        let replayed = Host::from_memory(recording.toml, recording.files);
        assert_eq!((replayed.link_target("/"), replayed.list("/")), (Ok(None), Ok(Vec::new())));
        assert_eq!(replayed.stat("/"), Err(Unread::NotCaptured { path: "/".to_owned() }));
    }

    #[test]
    fn a_head_is_recorded_with_the_size_of_the_whole() {
        let dir = tempfile::tempdir().unwrap();
        #[expect(clippy::disallowed_methods, reason = "the test makes the file that the host reads")]
        std::fs::write(dir.path().join("program"), [7; 100]).unwrap();
        let host = Host::image(dir.path()).unwrap().recorded();
        let (stat, bytes) = host.head("/program", 20).unwrap();
        assert_eq!((stat.size_bytes, bytes.len()), (100, 20));
        assert_eq!(host.head("/program", 500).map(|(_, bytes)| bytes.len()), Ok(100));
        assert_eq!(host.head("/program", 20).map(|(_, bytes)| bytes.len()), Ok(20));
        assert!(host.head("/none", 20).unwrap_err().is_absent());
        let recording = host.into_recording().unwrap();
        assert_eq!(recording.files.get("/program").map(Vec::len), Some(100));
        assert_eq!(recording.toml.paths.get("/program").and_then(|record| record.size), Some(100));
        let replayed = Host::from_memory(recording.toml, recording.files);
        assert_eq!(
            replayed.head("/program", 20).map(|(stat, bytes)| (stat.size_bytes, bytes.len())),
            Ok((100, 20))
        );
        assert!(replayed.head("/none", 20).unwrap_err().is_absent());
    }
}
