//! Whether Podman can put down images while it pulls them: see [`IMAGE_COPY_DIRECTORY`].

use crate::checks::{check, of_podman};
use crate::facts::podman::Podman;
use crate::facts::storage_place::{StoragePlace, can_hang};
use crate::facts::toml_keys::Scalar;
use crate::facts::users::User;
use crate::facts::version::Version;
use crate::facts::{Evidence, Facts};
use crate::finding::{Finding, Outcome, Remedy, Verdict};
use crate::host::{Fact, Kind, Unread};
use crate::requirements::{Need, Requirements};
use crate::settings::Setting;

check! {
    /// Images can be put down while they are pulled
    ///
    /// ## What is looked at
    ///
    /// The directory in which Podman writes the layers of an image before it unpacks them: `TMPDIR`, that
    /// of the caller if it is the user, else of `/etc/environment`, else of `env` in `[engine]` of
    /// `containers.conf`. Where there is none, `image_copy_tmp_dir` in `[engine]`, which Podman knows since
    /// 4.0, else `/var/tmp`. Whether it is there and the user can write to it. If it lies on another file
    /// system than the storage, which disk-space looks at: whether 1 GiB is free on it (advised).
    ///
    /// `image_copy_tmp_dir = "storage"` is the directory `tmp` of the storage, which Podman makes up to
    /// 4.3, and not from 4.4 on: there somebody has to have made it.
    ///
    /// ## Why it matters
    ///
    /// Pulling, loading and building stop with "mkdir /var/tmp/container_images_storage...: no such
    /// file or directory" or "no space left on device", however much room the storage has. Systems that
    /// keep `/var` read-only, or `/var/tmp` in memory to spare a memory card, run into this. The
    /// compressed layers of a node of kind or minikube take about half a GiB, all at a time.
    ///
    /// ## Repair
    ///
    /// `image_copy_tmp_dir` names a directory of the user that is there, on the file system of the storage.
    ///
    /// ## Sources
    ///
    /// - containers.conf(5), "image_copy_tmp_dir"; containers/common: pkg/config/config.go
    /// - containers/storage: commit ef7acdd4a, "Don't create $root/{mounts,tmp}"; podman issue 25810
    /// - containers/image: storage/storage_dest.go, internal/tmpdir/tmpdir.go
    IMAGE_COPY_DIRECTORY, "image-copy-directory", Required, User(run)
}

/// The compressed node image of kind and minikube, twice.
const ROOM_BYTES: u64 = 1 << 30;
const MIB: u64 = 1 << 20;
const KEY: &str = "image_copy_tmp_dir";
const DEFAULT: &str = "/var/tmp";
const NO_ROOM: &str = "an image whose layers do not fit in there is not pulled: \"no space left on device\"";

/// The directory, and what says so.
struct Chosen {
    path: String,
    by: Option<Evidence>,
    /// That of the storage, which has to be there only from this version on.
    in_storage: bool,
}

/// The first Podman that reads [`KEY`] (containers/common 0.45).
const KEY_SINCE: [u64; 2] = [4, 0];
/// The first Podman that does not make the directory in the storage (containers/storage 1.44).
const NOT_MADE_SINCE: [u64; 2] = [4, 4];

fn run(facts: &Facts, req: &Requirements, user: &User) -> Outcome {
    let demands = req.need(Need::ImageCopyDirectory);
    if !demands.is_empty() && !facts.running() {
        return Outcome::skip("directories for temporary files are made when the system starts");
    }
    of_podman(facts, user, demands, |podman, outcome| {
        let chosen = chosen(facts, user, podman)?;
        let finding = usable(facts, user, podman, &chosen);
        match finding {
            Ok(finding) => outcome.add_all(demands, &finding),
            Err(why) => {
                outcome.unknown_all(demands, &chosen.path, &why);
                return Ok(());
            }
        }
        for demand in demands {
            let demand = demand.advised(NO_ROOM);
            match room(facts, user, podman, &chosen) {
                Ok(Some(finding)) => outcome.add(&demand, finding),
                Ok(None) => {}
                Err(why) => outcome.unknown(&demand, &chosen.path, why),
            }
        }
        Ok(())
    })
}

fn expected(user: &User) -> String {
    format!("a directory that {} can write to", user.name)
}

/// Whether Podman is of this version or later; `None` where that is not known.
fn is_at_least(podman: &Podman, version: &[u64]) -> Option<bool> {
    podman.version.as_ref().ok()?.value.is_at_least(&Version::new(version))
}

/// Podman's own choice, in its order.
fn chosen(facts: &Facts, user: &User, podman: &Podman) -> Fact<Chosen> {
    let conf = facts.containers_conf(user)?;
    let own = if facts.caller().uid == user.uid {
        let value = facts.caller().environment.get("TMPDIR");
        value.map(|value| (value.clone(), Evidence::path("/proc/self/environ", format!("TMPDIR={value}"))))
    } else {
        facts.login_variable("TMPDIR", user)?.map(|set| (set.value, set.at))
    };
    let configured = || {
        let env = conf.env.as_ref()?;
        let value = env.value.iter().rev().find_map(|pair| pair.strip_prefix("TMPDIR="))?;
        Some((value.to_owned(), env.at.clone()))
    };
    if let Some((path, at)) = own.or_else(configured).filter(|(path, _)| !path.is_empty()) {
        return Ok(Chosen { path, by: Some(at), in_storage: false });
    }
    let set = conf.scalars.get(&("engine".to_owned(), KEY.to_owned()));
    Ok(match set.map(|set| (&set.value, &set.at)) {
        Some((Scalar::Text(text), at))
            if !text.is_empty() && is_at_least(podman, &KEY_SINCE) != Some(false) =>
        {
            let in_storage = text == "storage";
            let path = match in_storage {
                true => format!("{}/tmp", facts.storage_conf(user)?.graphroot),
                false => text.clone(),
            };
            Chosen { path, by: Some(at.clone()), in_storage }
        }
        _ => Chosen { path: DEFAULT.to_owned(), by: None, in_storage: false },
    })
}

/// Where it lies, if that can be looked at without waiting for a server.
fn place(facts: &Facts, path: &str) -> Fact<std::rc::Rc<StoragePlace>> {
    let place = facts.storage_place(path)?;
    match place.mount.as_ref().filter(|mount| can_hang(&mount.fs_type)) {
        Some(mount) => Err(Unread::Malformed {
            path: path.to_owned(),
            line: None,
            expected: format!("{} is not asked, its server could hang", mount.fs_type),
        }),
        None => Ok(place),
    }
}

fn usable(facts: &Facts, user: &User, podman: &Podman, chosen: &Chosen) -> Fact<Finding> {
    let Chosen { path, by, in_storage } = chosen;
    let finding = |found: String, verdict| Finding::new(path, expected(user), found, verdict);
    let remedy = |command: String| {
        let remedy = elsewhere(facts, user, podman, by.as_ref())?;
        Ok(if by.is_none() { remedy.command(command) } else { remedy })
    };
    if !path.starts_with('/') {
        if by.as_ref().is_some_and(|by| by.text.contains("TMPDIR")) {
            return Err(Unread::Malformed {
                path: path.clone(),
                line: None,
                expected: "a relative TMPDIR is another directory wherever Podman is called".to_owned(),
            });
        }
        let found = "a relative path, which Podman refuses".to_owned();
        let repair = elsewhere(facts, user, podman, by.as_ref())?;
        return Ok(finding(found, Verdict::Unmet).at(by.clone()).repair(repair));
    }
    let place = place(facts, path)?;
    let existing = place.existing.as_ref().filter(|(existing, _)| *existing == place.path);
    let Some((_, stat)) = existing else {
        if *in_storage {
            match is_at_least(podman, &NOT_MADE_SINCE) {
                Some(true) => {}
                Some(false) => {
                    let found = "made by Podman".to_owned();
                    return Ok(finding(found, Verdict::Met).at(by.clone()));
                }
                None => return Err(podman.unknown()),
            }
        }
        let at = Evidence::path(path, "does not exist");
        let remedy = remedy(format!("sudo install -d -m 1777 {path}"))?;
        let finding = finding("does not exist".to_owned(), Verdict::Unmet);
        return Ok(finding.at([at]).at(by.clone()).repair(remedy));
    };
    let shown = format!("mode {:04o}, owner {}:{}", stat.mode, stat.uid, stat.gid);
    if let Some(mount) = place.mount.as_ref().filter(|mount| mount.read_only()) {
        let found = finding("mounted read-only".to_owned(), Verdict::Unmet);
        let repair = elsewhere(facts, user, podman, by.as_ref())?;
        return Ok(found.at([mount.at.clone()]).at(by.clone()).repair(repair));
    }
    let met = stat.kind == Kind::Dir && stat.allows(user.uid, &user.groups, 3);
    let at = Evidence::path(path, &shown);
    let remedy = remedy(format!("sudo chmod 1777 {path}"))?;
    Ok(finding(shown, Verdict::met_if(met)).at([at]).at(by.clone()).repair(remedy))
}

/// Nothing where it is the same file system as that of the storage.
fn room(facts: &Facts, user: &User, podman: &Podman, chosen: &Chosen) -> Fact<Option<Finding>> {
    let here = place(facts, &chosen.path)?;
    let storage = facts.storage_place(&facts.storage_conf(user)?.graphroot)?;
    let Some((existing, _)) = here.existing.as_ref().filter(|_| here.mount != storage.mount) else {
        return Ok(None);
    };
    let space = facts.space(existing)?;
    let free = space.available_bytes / MIB;
    let verdict = Verdict::met_if(space.available_bytes >= ROOM_BYTES);
    let expected = format!("at least {} MiB free", ROOM_BYTES / MIB);
    let at = Evidence::path(existing, format!("{free} of {} MiB free", space.total_bytes / MIB));
    let finding = Finding::new(&chosen.path, expected, format!("{free} MiB free"), verdict).at([at]);
    let mount = here.mount.as_ref().map(|mount| mount.at.clone());
    let repair = elsewhere(facts, user, podman, chosen.by.as_ref())?;
    Ok(Some(finding.at(mount).at(chosen.by.clone()).repair(repair)))
}

/// The deepest directory on the way to the storage that is the user's, unless a variable has the last word.
fn elsewhere(facts: &Facts, user: &User, podman: &Podman, by: Option<&Evidence>) -> Fact<Remedy> {
    if let Some(by) = by.filter(|by| by.text.contains("TMPDIR")) {
        return Ok(Remedy::manual(format!("take TMPDIR out of {by}, or have it name a directory with room")));
    }
    let storage = facts.storage_place(&facts.storage_conf(user)?.graphroot)?;
    let writable = storage.existing.as_ref().filter(|(_, stat)| stat.allows(user.uid, &user.groups, 3));
    let directory = writable.map_or(user.home.as_str(), |(path, _)| path.as_str());
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\');
    if is_at_least(podman, &KEY_SINCE) == Some(false) || !directory.chars().all(is_plain) {
        return Ok(Remedy::manual(format!("have TMPDIR name a directory of {} with room", user.name)));
    }
    let setting = Setting::Engine {
        user: user.name.clone(),
        table: "engine",
        key: KEY.to_owned(),
        value: format!("\"{directory}\""),
    };
    Ok(Remedy::setting(format!("have the Podman of {} put images down in {directory}", user.name), setting))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::testing::{edge, findings, requirements, unknown, verdicts};
    use crate::facts::testing::{TestHost, fixture};
    use crate::finding::Level;
    use crate::requirements::Stack;

    const CONF: &str = "/etc/containers/containers.conf";
    const GIB: u64 = 1 << 30;
    /// As in a Debian 13 whose `/var/tmp` is kept in memory.
    const IN_MEMORY: &str = "99 1 0:99 / /var/tmp rw,nosuid,nodev - tmpfs tmpfs rw,size=524288k\n";

    fn look_at(host: TestHost) -> Outcome {
        run(&host.facts(), &requirements(&[Stack::Podman]), &edge())
    }

    fn host() -> TestHost {
        fixture("debian-13").caller(0, &[]).dir(DEFAULT, "1777", 0)
    }

    const STORAGE: &str = "/home/edge/.local/share/containers/storage";

    fn in_storage() -> Setting {
        Setting::Engine {
            user: "edge".to_owned(),
            table: "engine",
            key: KEY.to_owned(),
            value: format!("\"{STORAGE}\""),
        }
    }

    #[test]
    fn one_file_system_for_all() {
        let outcome = look_at(host());
        assert_eq!(verdicts(&outcome), [(DEFAULT, Verdict::Met)]);
        let finding = findings(&outcome)[0];
        assert_eq!(
            (finding.found.as_str(), outcome.items[0].level),
            ("mode 1777, owner 0:0", Level::Required)
        );
        assert_eq!(finding.evidence[0].to_string(), DEFAULT);
    }

    #[test]
    fn a_directory_that_is_not_there_or_not_for_the_user() {
        let outcome = look_at(host().without(DEFAULT));
        let finding = findings(&outcome)[0];
        assert_eq!((finding.found.as_str(), finding.verdict), ("does not exist", Verdict::Unmet));
        assert_eq!(finding.remedy.settings, [in_storage()]);
        assert_eq!(finding.remedy.commands, ["sudo install -d -m 1777 /var/tmp"]);
        assert_eq!(verdicts(&look_at(host().dir(DEFAULT, "0755", 0)))[0].1, Verdict::Unmet);
        let read_only = "99 1 0:99 / /var/tmp ro,nosuid - ext4 /dev/vdb ro\n";
        let outcome = look_at(host().append("/proc/self/mountinfo", read_only).space(DEFAULT, GIB, GIB));
        assert_eq!(findings(&outcome)[0].found, "mounted read-only");
        let fresh = look_at(host().without(DEFAULT).without("/home/edge/.local"));
        assert_eq!(
            findings(&fresh)[0].remedy.summary,
            "have the Podman of edge put images down in /home/edge"
        );
    }

    /// containers/storage made it up to 1.43, which is Podman 4.3.
    #[test]
    fn the_directory_of_the_storage_has_to_be_there() {
        let set = || host().file(CONF, format!("[engine]\n{KEY} = \"storage\"\n")).without(DEFAULT);
        let version = |host: TestHost, version: &str| {
            host.edit("/var/lib/dpkg/status", "Version: 5.4.2+ds1-2+b2", &format!("Version: {version}"))
        };
        let outcome = look_at(set());
        let path = format!("{STORAGE}/tmp");
        assert_eq!(verdicts(&outcome), [(path.as_str(), Verdict::Unmet)]);
        assert_eq!(findings(&outcome)[0].evidence[1].to_string(), format!("{CONF}:2"));
        assert_eq!(findings(&outcome)[0].remedy.settings, [in_storage()]);
        assert_eq!(verdicts(&look_at(set().dir(&path, "0700", 1000)))[0].1, Verdict::Met);
        assert_eq!(verdicts(&look_at(version(set(), "4.3.1+ds1-8")))[0].1, Verdict::Met);
        let old = look_at(version(set(), "3.4.4+ds1-1"));
        assert_eq!(verdicts(&old), [(DEFAULT, Verdict::Unmet)]);
        assert!(findings(&old)[0].remedy.settings.is_empty());
        let rpm = set()
            .without("/var/lib/dpkg")
            .without("/usr/lib/systemd/user/podman-user-wait-network-online.service")
            .without("/usr/libexec/podman/quadlet")
            .dir("/var/lib/rpm", "0755", 0);
        assert_eq!(unknown(&look_at(rpm)).len(), 1);
    }

    #[test]
    fn room_on_a_file_system_of_its_own() {
        let free = |bytes: u64| {
            let host = host().append("/proc/self/mountinfo", IN_MEMORY).space(DEFAULT, GIB, bytes);
            let outcome = look_at(host);
            assert_eq!((outcome.items.len(), outcome.items[1].level), (2, Level::Advised));
            (*findings(&outcome)[1]).clone()
        };
        assert_eq!(free(GIB).verdict, Verdict::Met);
        let little = free(GIB / 2);
        assert_eq!((little.found.as_str(), little.verdict), ("512 MiB free", Verdict::Unmet));
        assert_eq!(little.evidence[0], Evidence::path(DEFAULT, "512 of 1024 MiB free"));
        assert_eq!(little.remedy.settings, [in_storage()]);
    }

    #[test]
    fn a_variable_has_the_last_word() {
        let outcome = look_at(host().caller(1000, &[("TMPDIR", "/data/tmp")]));
        let finding = findings(&outcome)[0];
        assert_eq!((finding.subject.as_str(), finding.verdict), ("/data/tmp", Verdict::Unmet));
        assert!(finding.remedy.settings.is_empty(), "{:?}", finding.remedy);
        let login = host().file("/etc/environment", "TMPDIR=/home/edge\n").dir("/home/edge", "0700", 1000);
        assert_eq!(verdicts(&look_at(login)), [("/home/edge", Verdict::Met)]);
        let env = "[engine]\nenv = [\"A=b\", \"TMPDIR=/home/edge\"]\n";
        let own = host().file(CONF, env).dir("/home/edge", "0700", 1000);
        assert_eq!(verdicts(&look_at(own)), [("/home/edge", Verdict::Met)]);
        assert_eq!(unknown(&look_at(host().caller(1000, &[("TMPDIR", "tmp")]))).len(), 1);
        let set = look_at(host().file(CONF, format!("[engine]\n{KEY} = \"tmp\"\n")));
        assert_eq!(findings(&set)[0].found, "a relative path, which Podman refuses");
    }

    #[test]
    fn unknown_and_skipped() {
        let nfs = host().append("/proc/self/mountinfo", "99 1 0:99 / /var/tmp rw - nfs4 srv:/tmp rw\n");
        assert_eq!(unknown(&look_at(nfs)), ["/var/tmp: nfs4 is not asked, its server could hang"]);
        let denied = look_at(host().error(DEFAULT, "denied"));
        assert_eq!(unknown(&denied), ["/var/tmp is not readable as this user"]);
        assert_eq!(denied.items[0].level, Level::Required);
        assert!(look_at(host().image()).skipped.is_some());
        assert!(look_at(host().without("/usr/bin/podman")).skipped.is_some());
        assert!(run(&host().facts(), &requirements(&[Stack::K3s]), &edge()).skipped.is_some());
    }
}
