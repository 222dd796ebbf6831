//! Repairs where a file of ours would be read in vain: the file that wins over it is changed itself.

use crate::facts::delegation::{above_etc, comes_before};
use crate::facts::unit::Unit;
use crate::facts::users::User;
use crate::facts::{Evidence, Facts};
use crate::finding::Remedy;
use crate::settings::quoted;

/// What reads a changed unit.
pub(super) const RELOAD: &str = "sudo systemctl daemon-reload";
/// Roots of volatile and vendor configuration, over which a file of the same name in `/etc` wins.
const BELOW_ETC: [&str; 5] = ["/usr/local/lib/", "/usr/lib/", "/usr/share/", "/lib/", "/run/"];

/// Whether a drop-in is read after `ours`, or instead of it: by its name over all directories, and of two
/// of the same name by the directory (`systemd.unit(5)`, "System Unit Search Path").
pub(super) fn beats(winner: &str, ours: &str) -> bool {
    let (Some((dir, name)), Some((our_dir, our_name))) = (winner.rsplit_once('/'), ours.rsplit_once('/'))
    else {
        return false;
    };
    kind(dir).is_some()
        && kind(dir) == kind(our_dir)
        && (name > our_name || name == our_name && dir != our_dir && comes_before(dir, our_dir))
}

/// What the drop-ins of a directory are of: `service` for `user@.service.d` and for `service.d`.
fn kind(dir: &str) -> Option<&str> {
    let name = dir.rsplit('/').next()?.strip_suffix(".d")?;
    name.rsplit('.').next()
}

/// The evidence on what is beaten: the lines of `ours` for that key.
pub(super) fn undone(unit: &Unit, section: &str, key: &str, ours: &str) -> Vec<Evidence> {
    let lines = unit.values(section, key).filter(|value| &*value.at.path == ours);
    lines.map(|value| value.at.clone()).collect()
}

/// A file as it is changed.
pub(super) struct InPlace {
    /// The file.
    pub(super) file: String,
    /// It, and what leads to it, for people.
    pub(super) what: String,
    /// What makes it first, out of one that a package brings or the next boot takes away.
    pub(super) make: Vec<String>,
}

/// Where what stands at `at` is changed. Not in a vendor's file, which the next update replaces, and not
/// in a link, in whose place `sed -i` puts a file, but in what it leads to.
pub(super) fn in_place(facts: &Facts, at: &Evidence) -> InPlace {
    let path = &*at.path;
    let (sudo, root) = if facts.running() { ("sudo ", "") } else { ("", "$ROOT") };
    let below = |path: &str| BELOW_ETC.iter().find_map(|root| path.strip_prefix(root).map(str::to_owned));
    let real = facts.real_path(path).unwrap_or_else(|_| path.to_owned());
    let (dir, _) = path.rsplit_once('/').unwrap_or_default();
    if below(&real).is_none() || above_etc(dir) {
        let what = if real == path { at.to_string() } else { format!("{real}, to which {at} leads") };
        return InPlace { file: real, what, make: Vec::new() };
    }
    let what = at.to_string();
    let Some(name) = below(path) else {
        // A link in /etc, which becomes a file and wins over what it led to.
        return InPlace { file: path.to_owned(), what, make: Vec::new() };
    };
    let file = format!("/etc/{name}");
    let (dir, _) = file.rsplit_once('/').unwrap_or_default();
    let mut make = Vec::new();
    if facts.stat(dir).is_err() {
        make.push(format!("{sudo}mkdir -p {root}{}", quoted(dir)));
    }
    make.push(format!("{sudo}cp {root}{} {root}{}", quoted(path), quoted(&file)));
    InPlace { file, what, make }
}

/// The command that puts `text` in the place of a line; none for a line that goes on in the next one.
pub(super) fn rewrite(
    facts: &Facts,
    file: &str,
    at: &Evidence,
    text: &str,
    user: Option<&User>,
) -> Option<String> {
    let line = at.line.filter(|_| !at.text.ends_with('\\'))?;
    let (sudo, root) = match (facts.running(), user) {
        (true, Some(user)) => (format!("sudo -Hu {} ", quoted(&user.name)), ""),
        (true, None) => ("sudo ".to_owned(), ""),
        (false, _) => (String::new(), "$ROOT"),
    };
    let text = text.replace('\\', "\\\\").replace('&', "\\&").replace('|', "\\|");
    Some(format!("{sudo}sed -i {} {root}{}", quoted(&format!("{line}s|.*|{text}|")), quoted(file)))
}

/// The repair of a line that wins over `ours`; what makes it take effect is left to the caller.
pub(super) fn change(facts: &Facts, at: &Evidence, ours: &str, text: &str, user: Option<&User>) -> Remedy {
    let InPlace { file, what, make } = in_place(facts, at);
    let how = if at.path.rsplit('/').next() == ours.rsplit('/').next() {
        format!("is read instead of {ours}")
    } else {
        format!("sorts after {ours} and wins over it")
    };
    let mut remedy = Remedy::manual(format!("put {text} in the place of {what}: it {how}"));
    remedy.commands = make;
    remedy.commands.extend(rewrite(facts, &file, at, text, user));
    remedy
}

/// As [`change`], of what systemd reads when it is told.
pub(super) fn change_unit(facts: &Facts, at: &Evidence, ours: &str, text: &str) -> Remedy {
    let remedy = change(facts, at, ours, text, None);
    if facts.running() { remedy.command(RELOAD) } else { remedy }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::empty_host;

    const OURS: &str = "/etc/systemd/system/user@.service.d/90-rootless.conf";

    #[test]
    fn names_decide_and_then_directories() {
        for (path, expected) in [
            ("/etc/systemd/system/user@.service.d/99-hard.conf", true),
            ("/usr/lib/systemd/system/service.d/zz.conf", true),
            ("/etc/systemd/system/user@1000.service.d/90-rootless.conf", true),
            ("/run/systemd/system.control/user@1000.service.d/90-rootless.conf", true),
            ("/run/systemd/system/user@.service.d/90-rootless.conf", false),
            ("/etc/systemd/system/user@.service.d/50-site.conf", false),
            ("/usr/lib/systemd/system/user@.service", false),
            ("/etc/systemd/system.conf.d/99-hard.conf", false),
            ("/etc/systemd/system/user-.slice.d/99-hard.conf", false),
            (OURS, false),
        ] {
            assert_eq!(beats(path, OURS), expected, "{path}");
        }
    }

    #[test]
    fn a_vendors_file_is_copied_and_a_volatile_one_too() {
        let facts = empty_host().dir("/etc/systemd/system/user@.service.d", "0755", 0).facts();
        let change = |path: &str, text: &str| {
            change(&facts, &Evidence::line(path, 2, text), OURS, "LimitNOFILE=9", None).commands
        };
        let sed = |path: &str| format!("sudo sed -i '2s|.*|LimitNOFILE=9|' {path}");
        let ours = "/etc/systemd/system/user@.service.d/99-hard.conf";
        assert_eq!(change(ours, "LimitNOFILE=1"), [sed(ours)]);
        assert_eq!(change(ours, "LimitNOFILE=1 \\"), Vec::<String>::new());
        for root in ["/usr/lib", "/run"] {
            let path = format!("{root}/systemd/system/user@.service.d/99-hard.conf");
            assert_eq!(change(&path, "x"), [format!("sudo cp {path} {ours}"), sed(ours)]);
        }
        let control = "/run/systemd/system.control/user@1000.service.d/99-hard.conf";
        assert_eq!(change(control, "x"), [sed(control)]);
        let absent = change("/usr/lib/systemd/system/service.d/99-hard.conf", "x");
        assert_eq!(absent[0], "sudo mkdir -p /etc/systemd/system/service.d");
    }

    #[test]
    fn what_a_user_owns_is_changed_by_them() {
        let (edge, at) = (User::example("edge", 1000), Evidence::line("/home/edge/x.conf", 1, "a"));
        let command = |image: bool| {
            let host = if image { empty_host().image() } else { empty_host() };
            rewrite(&host.facts(), "/home/edge/x.conf", &at, "a = \"b&c\"", Some(&edge)).unwrap()
        };
        assert_eq!(command(false), "sudo -Hu edge sed -i '1s|.*|a = \"b\\&c\"|' /home/edge/x.conf");
        assert_eq!(command(true), "sed -i '1s|.*|a = \"b\\&c\"|' $ROOT/home/edge/x.conf");
    }
}
