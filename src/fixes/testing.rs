//! Fixes of test hosts, and hosts as a fix leaves them.

use super::{FixError, Fixes, Layer, Options, Wanted, fixes};
use crate::facts::testing::{TestHost, empty_host};
use crate::settings::Setting;

/// A running host with the users `edge` (1000) and `other` (1001), each with a home directory.
pub(super) fn host() -> TestHost {
    empty_host()
        .file("/etc/passwd", "root:x:0:0::/root:/bin/sh\nedge:x:1000:1000::/home/edge:/bin/sh\nother:x:1001:1001::/home/other:/bin/sh\n")
        .file("/etc/group", "kvm:x:993:edge\n")
        .dir("/home/edge", "0755", 1000)
        .dir("/home/other", "0755", 1001)
}

/// [`host`], with a user manager of `edge` that runs.
pub(super) fn managed() -> TestHost {
    host().dir("/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service", "0755", 1000)
}

/// The vendor's layer.
pub(super) fn vendor() -> Options {
    Options { layer: Layer::Vendor, ..Options::default() }
}

/// What reaches these settings.
pub(super) fn fix(host: &TestHost, settings: &[Setting]) -> Result<Fixes, FixError> {
    fixes(&host.clone().facts(), settings, &Options::default())
}

/// The host once a fix is written.
pub(super) fn applied(mut host: TestHost, fixes: &Fixes) -> TestHost {
    for artifact in &fixes.artifacts {
        let path = &artifact.path;
        host = match &artifact.wanted {
            Wanted::File { bytes, .. } => host.file(path, bytes),
            Wanted::CopyOf(original) => {
                let text = host.text(original).to_owned();
                host.file(path, text)
            }
            Wanted::Link(target) => {
                host.file(path, "").path(path, |record| record.link = Some(target.clone()))
            }
            Wanted::Mode(mode) => host.mode(path, &format!("{mode:o}")),
            Wanted::Capability(bytes) => {
                let digits = bytes.0.iter().map(|byte| format!("{byte:02x}")).collect();
                host.path(path, |record| record.capability = Some(digits))
            }
        };
    }
    host
}

/// The fix, after which a second one has nothing more to write.
pub(super) fn settled(host: &TestHost, settings: &[Setting], options: &Options) -> (Fixes, TestHost) {
    let once = fixes(&host.clone().facts(), settings, options).unwrap();
    let after = applied(host.clone(), &once);
    let twice = fixes(&after.clone().facts(), settings, options).unwrap();
    assert_eq!(twice.artifacts, [], "a second run changes something");
    (once, after)
}

/// The paths of a fix, each with its text or the text of its link.
pub(super) fn written(fixes: &Fixes) -> Vec<(&str, String)> {
    let shown = |wanted: &Wanted| match wanted {
        Wanted::File { bytes, .. } => String::from_utf8(bytes.clone()).unwrap(),
        Wanted::CopyOf(original) => format!("= {original}"),
        Wanted::Link(target) => format!("-> {target}"),
        Wanted::Mode(mode) => format!("{mode:04o}"),
        Wanted::Capability(bytes) => format!("{bytes:?}"),
    };
    fixes.artifacts.iter().map(|artifact| (artifact.path.as_str(), shown(&artifact.wanted))).collect()
}

/// A new file of ours with these lines.
pub(super) fn ours(lines: &str) -> String {
    format!("# Written by edgeprep; \"edgeprep undo\" takes it back. See edgeprep(1).\n{lines}")
}
