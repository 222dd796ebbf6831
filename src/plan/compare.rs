//! Compares artifacts with the host: what is there, what has to be made, and with which mode and owner.

use std::collections::BTreeMap;

use super::{Change, Content, State, Writer};
use crate::facts::Facts;
use crate::fixes::{Artifact, FixError, Wanted};

/// The permission bits of a new directory.
const DIR_MODE: u32 = 0o755;
/// Those of a user's `~/.config` (XDG Base Directory Specification, "Referencing this specification").
const PRIVATE_DIR_MODE: u32 = 0o700;

/// The changes that make `artifacts` of what is there, copies first, and directories before what goes into them;
/// none for what is there already.
///
/// # Errors
/// Where something is there that is not replaced, or that cannot be read.
pub(super) fn changes(facts: &Facts, artifacts: &[Artifact]) -> Result<Vec<Change>, FixError> {
    let mut copies = Vec::new();
    let mut dirs: BTreeMap<String, Change> = BTreeMap::new();
    let mut files: BTreeMap<String, Change> = BTreeMap::new();
    for artifact in artifacts {
        let owner = owner(&artifact.by);
        let before = facts.existing(&artifact.path)?;
        let after = match &artifact.wanted {
            Wanted::CopyOf(original) => copy(facts, artifact, original, &before)?,
            _ => after(artifact, &before, owner)?,
        };
        if after.is(&before) {
            continue;
        }
        if let Wanted::CopyOf(_) = artifact.wanted {
            copies.push(Change { path: artifact.path.clone(), by: artifact.by.clone(), before, after });
            continue;
        }
        for dir in missing_parents(facts, artifact)? {
            let (uid, gid) = owner;
            let after = State::Dir { mode: dir_mode(&artifact.by, &dir), uid, gid };
            let change = Change { path: dir.clone(), by: artifact.by.clone(), before: State::Absent, after };
            dirs.insert(dir, change);
        }
        let change = Change { path: artifact.path.clone(), by: artifact.by.clone(), before, after };
        files.insert(artifact.path.clone(), change);
    }
    Ok(copies.into_iter().chain(dirs.into_values()).chain(files.into_values()).collect())
}

/// A copy lies beside its original, so its directory is there.
fn copy(facts: &Facts, artifact: &Artifact, original: &str, before: &State) -> Result<State, FixError> {
    match (facts.existing(original)?, before) {
        (original @ State::File { .. }, State::Absent | State::File { .. }) => Ok(original),
        (State::File { .. }, _) => {
            Err(refused(artifact, "is there and no file, so it is not replaced by one"))
        }
        _ => Err(refused(artifact, &format!("is to be a copy of {original}, which is no file"))),
    }
}

fn refused(artifact: &Artifact, what: &str) -> FixError {
    FixError::Refused(format!("{}: {what}", artifact.path))
}

/// Who owns what is new. In the image of a builder without privileges the builder stands for root.
fn owner(by: &Writer) -> (u32, u32) {
    match by {
        Writer::User(user) => (user.uid, user.gid),
        Writer::System => (0, 0),
    }
}

fn dir_mode(by: &Writer, dir: &str) -> u32 {
    match by {
        Writer::User(user) if dir == format!("{}/.config", user.home.trim_end_matches('/')) => {
            PRIVATE_DIR_MODE
        }
        _ => DIR_MODE,
    }
}

/// The directories above an artifact that are not there, the highest first.
fn missing_parents(facts: &Facts, artifact: &Artifact) -> Result<Vec<String>, FixError> {
    let mut missing = Vec::new();
    let mut path = artifact.path.as_str();
    while let Some((parent, _)) = path.rsplit_once('/').filter(|(parent, _)| !parent.is_empty()) {
        match facts.stat(parent) {
            Err(why) if why.is_absent() => missing.push(parent.to_owned()),
            Err(why) => return Err(why.into()),
            Ok(_) => break,
        }
        path = parent;
    }
    missing.reverse();
    Ok(missing)
}

fn after(artifact: &Artifact, before: &State, (new_uid, new_gid): (u32, u32)) -> Result<State, FixError> {
    let refused = |what: &str| Err(refused(artifact, what));
    match (&artifact.wanted, before) {
        (Wanted::File { bytes, mode }, State::Absent) => Ok(State::File {
            content: Content::new(bytes.clone()),
            mode: *mode,
            uid: new_uid,
            gid: new_gid,
            capability: None,
        }),
        (Wanted::File { bytes, .. }, State::File { mode, uid, gid, capability, .. }) => Ok(State::File {
            content: Content::new(bytes.clone()),
            mode: *mode,
            uid: *uid,
            gid: *gid,
            capability: capability.clone(),
        }),
        (Wanted::Link(target), State::Absent) => {
            Ok(State::Link { target: target.clone(), uid: new_uid, gid: new_gid })
        }
        (Wanted::Link(target), State::Link { uid, gid, .. }) => {
            Ok(State::Link { target: target.clone(), uid: *uid, gid: *gid })
        }
        (Wanted::Mode(mode), State::File { content, uid, gid, capability, .. }) => Ok(State::File {
            content: content.digest(),
            mode: *mode,
            uid: *uid,
            gid: *gid,
            capability: capability.clone(),
        }),
        (Wanted::Capability(capability), State::File { content, mode, uid, gid, .. }) => Ok(State::File {
            content: content.digest(),
            mode: mode & 0o777,
            uid: *uid,
            gid: *gid,
            capability: Some(capability.clone()),
        }),
        (Wanted::Mode(_) | Wanted::Capability(_), _) => refused("is no file, so it has no mode to repair"),
        (Wanted::File { .. } | Wanted::CopyOf(_), _) => {
            refused("is there and no file, so it is not replaced by one")
        }
        (Wanted::Link(_), _) => refused("is there and no link, so it is not replaced by one"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, empty_host};
    use crate::plan::Credentials;

    const PATH: &str = "/etc/sysctl.d/90-rootless.conf";

    fn planned(host: TestHost, wanted: Wanted, path: &str) -> Result<Vec<Change>, FixError> {
        let artifact = Artifact { path: path.to_owned(), by: Writer::System, wanted };
        changes(&host.facts(), &[artifact])
    }

    fn file(text: &str) -> Wanted {
        Wanted::File { bytes: text.as_bytes().to_vec(), mode: 0o644 }
    }

    #[test]
    fn a_copy_is_made_first_and_belongs_to_whom_the_original_does() {
        let path = "/boot/firmware/cmdline.txt";
        let host = empty_host().file(path, "quiet\n").mode(path, "0755");
        let copy = format!("{path}.before");
        let wanted = [(path, file("quiet x\n")), (copy.as_str(), Wanted::CopyOf(path.to_owned()))];
        let artifacts =
            wanted.map(|(path, wanted)| Artifact { path: path.to_owned(), by: Writer::System, wanted });
        let got = changes(&host.clone().facts(), &artifacts).unwrap();
        assert_eq!(got.iter().map(|c| c.path.as_str()).collect::<Vec<_>>(), [copy.as_str(), path]);
        assert_eq!(got[0].after, got[1].before);
        let folder = host.dir(&copy, "0755", 0);
        assert!(matches!(changes(&folder.facts(), &artifacts), Err(FixError::Refused(_))));
    }

    #[test]
    fn a_new_file_comes_after_its_directories() {
        let got = planned(empty_host().file("/etc/passwd", ""), file("a"), PATH).unwrap();
        let shown: Vec<(&str, bool)> = got
            .iter()
            .map(|c| (c.path.as_str(), matches!(c.after, State::Dir { mode: 0o755, .. })))
            .collect();
        assert_eq!(shown, [("/etc/sysctl.d", true), (PATH, false)]);
    }

    #[test]
    fn what_is_there_keeps_mode_and_owner_and_the_same_is_no_change() {
        let host = || empty_host().file(PATH, "a").mode(PATH, "0600");
        assert_eq!(planned(host(), file("a"), PATH), Ok(Vec::new()));
        let got = planned(host(), file("b"), PATH).unwrap();
        let [Change { after: State::File { content, mode: 0o600, .. }, .. }] = &got[..] else {
            panic!("{got:?}")
        };
        assert_eq!(content.bytes(), Some(&b"b"[..]));
    }

    #[test]
    fn a_mode_is_changed_without_keeping_the_bytes() {
        let host = empty_host().file("/usr/bin/newuidmap", "ELF").mode("/usr/bin/newuidmap", "0755");
        let got = planned(host, Wanted::Mode(0o4755), "/usr/bin/newuidmap").unwrap();
        let [Change { after: State::File { content: Content::Sha256(_), mode: 0o4755, .. }, .. }] = &got[..]
        else {
            panic!("{got:?}")
        };
    }

    #[test]
    fn what_is_no_file_is_not_replaced() {
        let error = planned(empty_host().dir(PATH, "0755", 0), file("a"), PATH).unwrap_err();
        assert!(error.to_string().starts_with(PATH), "{error}");
        assert!(planned(empty_host(), Wanted::Mode(0o4755), PATH).is_err());
    }

    #[test]
    fn a_users_configuration_is_private() {
        let user = Credentials {
            name: "edge".to_owned(),
            uid: 1000,
            gid: 1000,
            groups: vec![1000],
            home: "/home/edge".to_owned(),
        };
        let path = "/home/edge/.config/environment.d/90-rootless.conf";
        let artifact =
            Artifact { path: path.to_owned(), by: Writer::User(user), wanted: file("DOCKER_HOST=x\n") };
        let got = changes(&empty_host().dir("/home/edge", "0700", 1000).facts(), &[artifact]).unwrap();
        let modes: Vec<State> = got.into_iter().map(|c| c.after).collect();
        assert_eq!(modes[0], State::Dir { mode: 0o700, uid: 1000, gid: 1000 });
        assert_eq!(modes[1], State::Dir { mode: 0o755, uid: 1000, gid: 1000 });
    }
}
