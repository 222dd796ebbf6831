//! OSTree, which also bootc and rpm-ostree deploy with: it writes the entries of the boot loader,
//! one for each deployment.

use std::rc::Rc;

use super::bls::{self, Entry};
use super::{Boot, BootWant, Doubt, Method, versions};
use crate::facts::kernel_cmdline::KernelCmdline;
use crate::facts::{Evidence, Facts};
use crate::host::{Fact, OrAbsent};

const ENTRIES: &str = "/boot/loader/entries";
/// What the initial RAM disk leaves on a system that OSTree deployed.
const BOOTED: &str = "/run/ostree-booted";
const REPOSITORY: &str = "/ostree/repo";
/// A deployment that becomes the default one when the system goes down.
const STAGED: &str = "/run/ostree/staged-deployment";

/// Whether OSTree says what is booted.
///
/// # Errors
/// Where that cannot be read.
pub(super) fn is_there(facts: &Facts) -> Fact<bool> {
    if facts.running() {
        let booted = facts.stat(BOOTED).or_absent()?.is_some();
        return Ok(booted || facts.boot_parameters()?.last("ostree").is_some());
    }
    // The root of a disk, with the deployments in it. What is in a deployment or a container image has a
    // link or nothing in this place.
    Ok(facts.stat(REPOSITORY).or_absent()?.is_some() && facts.stat(ENTRIES).or_absent()?.is_some())
}

pub(super) fn find(facts: &Facts, _want: &BootWant) -> Fact<Option<Boot>> {
    if !is_there(facts)? {
        return Ok(None);
    }
    let boot = |at, next, doubt| Boot {
        before: None,
        method: Method::Ostree,
        at: vec![at],
        next,
        doubt,
        unheard: Vec::new(),
        place: Err(by_hand(facts)),
    };
    let unknown = |why: String| {
        let doubt = Doubt { why, or: Vec::new() };
        boot(Evidence::path(ENTRIES, ""), KernelCmdline::default(), Some(doubt))
    };
    let files = match bls::files(facts, ENTRIES) {
        Ok(files) => files,
        Err(why) => return Ok(Some(unknown(why.to_string()))),
    };
    let mut entries: Vec<Rc<Entry>> = files
        .iter()
        .map(|(id, source)| Rc::new(Entry::parse(id, source)))
        .filter(|entry| is_deployed(entry))
        .collect();
    // OSTree counts versions up, and the highest is the default one for it (`ostree_bootconfig_parser`); a
    // boot loader that sorts by names should come to the same.
    let version = |entry: &Entry| entry.value("version").unwrap_or_default().to_owned();
    entries.sort_by(|one, other| versions::uapi(&version(other), &version(one)));
    let by_name = entries.iter().max_by(|one, other| versions::grub_entries(&one.id, &other.id)).cloned();
    let Some(first) = entries.first() else {
        return Ok(Some(unknown(format!("{ENTRIES} has no entry of a deployment"))));
    };
    let doubt = match facts.stat(STAGED).or_absent() {
        Ok(None) => by_name.filter(|entry| entry.id != first.id).map(|entry| Doubt {
            why: format!("which entry of {ENTRIES} boots cannot be told"),
            or: vec![entry.options()],
        }),
        Ok(Some(_)) => Some("a deployment is staged, of which the words cannot be read".to_owned())
            .map(|why| Doubt { why, or: Vec::new() }),
        Err(why) => Some(Doubt { why: why.to_string(), or: Vec::new() }),
    };
    Ok(Some(boot(first.evidence(), first.options(), doubt)))
}

fn is_deployed(entry: &Entry) -> bool {
    entry.id.starts_with("ostree-") || entry.options().last("ostree").is_some()
}

/// Entries are written anew with each deployment, so they are not edited.
fn by_hand(facts: &Facts) -> String {
    match facts.program("rpm-ostree") {
        Ok(Some(_)) => "OSTree writes the entries of the boot loader: sudo rpm-ostree kargs \
                        --append-if-missing=WORD, or --delete-if-present=WORD"
            .to_owned(),
        _ => "OSTree writes the entries of the boot loader: have it in /usr/lib/bootc/kargs.d of the \
              image, or sudo ostree admin kargs edit-in-place --append-if-missing=WORD"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, empty_host};

    /// As `ostree admin status` of Fedora CoreOS 42 has it, in the layout of libostree 2024.10 and
    /// later.
    fn coreos() -> TestHost {
        let entry = |version: &str, kernel: &str, more: &str| {
            format!(
                "title Fedora CoreOS 42.20250705.3.0 (ostree:{version})\nversion {version}\n\
                 options rw $ignition_firstboot mitigations=auto,nosmt{more} \
                 ostree=/ostree/boot.1/fedora-coreos/abc/0 root=UUID=1 rw rootflags=prjquota boot=UUID=2\n\
                 linux /ostree/fedora-coreos-abc/vmlinuz-{kernel}\n\
                 initrd /ostree/fedora-coreos-abc/initramfs.img\n\
                 aboot /ostree/deploy/fedora-coreos/deploy/abc.0/usr/lib/ostree-boot/aboot.img\n"
            )
        };
        empty_host()
            .file("/run/ostree-booted", "")
            .file("/boot/loader/entries/ostree-1.conf", entry("1", "6.14.9", ""))
            .file("/boot/loader/entries/ostree-2.conf", entry("2", "6.15.4", " quiet"))
            .file("/usr/bin/rpm-ostree", "")
            .mode("/usr/bin/rpm-ostree", "0755")
    }

    #[test]
    fn the_newest_deployment_boots() {
        let boot = find(&coreos().facts(), &BootWant::default()).unwrap().unwrap();
        assert_eq!(boot.at[0].to_string(), "/boot/loader/entries/ostree-2.conf:3");
        assert!(boot.next.last("quiet").is_some());
        assert_eq!(boot.doubt, None);
        assert!(boot.place.unwrap_err().contains("rpm-ostree kargs --append-if-missing="));
        // Older ones name an entry after its place in the menu.
        let older = coreos().edit("/boot/loader/entries/ostree-1.conf", "version 1", "version 3").facts();
        let boot = find(&older, &BootWant::default()).unwrap().unwrap();
        assert!(boot.doubted("quiet").is_some(), "one of them has it");
        assert_eq!(boot.doubted("mitigations=auto,nosmt"), None, "both have it");
    }

    #[test]
    fn what_is_staged_is_not_known() {
        let boot = find(&coreos().file("/run/ostree/staged-deployment", "x").facts(), &BootWant::default());
        assert!(boot.unwrap().unwrap().doubted("quiet").is_some_and(|why| why.contains("staged")));
        let unread = coreos().error("/boot/loader/entries", "denied").facts();
        let boot = find(&unread, &BootWant::default()).unwrap().unwrap();
        assert!(boot.doubted("quiet").is_some_and(|why| why.contains("not readable")));
    }

    #[test]
    fn others_are_not_of_ostree() {
        let gone = coreos().without("/run/ostree-booted");
        assert_eq!(find(&gone.clone().facts(), &BootWant::default()), Ok(None));
        let booted = gone.file("/proc/cmdline", "root=UUID=1 ostree=/ostree/boot.1/a/0\n").facts();
        assert!(find(&booted, &BootWant::default()).unwrap().is_some());
        assert_eq!(find(&coreos().image().facts(), &BootWant::default()), Ok(None));
        let disk = coreos().dir("/ostree/repo", "0755", 0).image().facts();
        assert!(find(&disk, &BootWant::default()).unwrap().is_some());
    }
}
