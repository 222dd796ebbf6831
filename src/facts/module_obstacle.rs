//! What keeps a module from being loaded: modprobe.d and the kernel command line, put together with
//! the modules that it needs.

use super::modprobe::{InstallCommand, ModprobeConfig};
use super::modules::ModuleFile;
use super::{Evidence, Sourced};

/// Something in the way of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// What it does.
    pub kind: ObstacleKind,
    /// The module that it is said of: the one that is wanted, or one that it needs.
    pub module: String,
    /// Where that is said.
    pub at: Evidence,
}

/// The kinds of obstacles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObstacleKind {
    /// `module_blacklist=`: the kernel loads it for nobody.
    Refused,
    /// `install NAME /bin/false` or `/bin/true`: modprobe runs that in its place.
    Replaced,
    /// `blacklist NAME`: neither systemd-modules-load nor an alias loads it. modprobe by its name
    /// does, and so does a module that needs it (modprobe(8), `--use-blacklist`).
    Blacklisted,
    /// `install NAME COMMAND`: whether the command loads it cannot be told.
    OtherCommand,
}

impl ModprobeConfig {
    /// The first thing in the way of a module, the firmest first.
    pub fn obstacle(&self, file: &ModuleFile) -> Option<Obstacle> {
        let with_needs = || std::iter::once(&file.name).chain(&file.needs);
        let refused = with_needs().find_map(|module| {
            let at = self.policy(module).kernel_blacklisted?;
            Some(Obstacle { kind: ObstacleKind::Refused, module: module.clone(), at })
        });
        let installs: Vec<Obstacle> = with_needs()
            .filter_map(|module| {
                let Sourced { value, at } = self.policy(module).install?;
                Some(Obstacle { kind: replaced(&value)?, module: module.clone(), at })
            })
            .collect();
        let first = |kind| installs.iter().find(|obstacle| obstacle.kind == kind).cloned();
        let blacklisted = || {
            let at = self.policy(&file.name).blacklisted?;
            Some(Obstacle { kind: ObstacleKind::Blacklisted, module: file.name.clone(), at })
        };
        refused
            .or_else(|| first(ObstacleKind::Replaced))
            .or_else(blacklisted)
            .or_else(|| first(ObstacleKind::OtherCommand))
    }
}

fn replaced(command: &InstallCommand) -> Option<ObstacleKind> {
    match command {
        InstallCommand::Fails | InstallCommand::Nothing => Some(ObstacleKind::Replaced),
        // The usual form: "modprobe --ignore-install NAME && ...".
        InstallCommand::Other(text) if text.contains("modprobe") || text.contains("insmod") => None,
        InstallCommand::Other(_) => Some(ObstacleKind::OtherCommand),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::empty_host;

    /// Seen on Debian 13 with Linux 6.12: with `blacklist nf_conntrack`, nftables NAT in a user
    /// namespace works, with `install nf_conntrack /bin/true` it does not.
    #[test]
    fn a_needed_module_counts_unless_it_is_merely_blacklisted() {
        let at = Evidence::path("/usr/lib/modules/6.1.0/nft_ct.ko", "");
        let file = ModuleFile {
            name: "nft_ct".to_owned(),
            path: at.path.to_string(),
            needs: vec!["nf_tables".to_owned(), "nf_conntrack".to_owned()],
            at,
        };
        for (text, cmdline, expected) in [
            ("", "", None),
            ("blacklist nf_conntrack", "", None),
            ("blacklist nft_ct", "", Some((ObstacleKind::Blacklisted, "nft_ct"))),
            ("install nf_conntrack /bin/true", "", Some((ObstacleKind::Replaced, "nf_conntrack"))),
            ("blacklist nft_ct\ninstall nf_* /bin/false", "", Some((ObstacleKind::Replaced, "nf_tables"))),
            ("install nft_ct modprobe -i nft_ct && true", "", None),
            ("install nft_ct /opt/x", "", Some((ObstacleKind::OtherCommand, "nft_ct"))),
            ("", "module_blacklist=nf_conntrack", Some((ObstacleKind::Refused, "nf_conntrack"))),
            ("", "modprobe.blacklist=nft_ct", Some((ObstacleKind::Blacklisted, "nft_ct"))),
        ] {
            let facts =
                empty_host().file("/proc/cmdline", cmdline).file("/etc/modprobe.d/x.conf", text).facts();
            let found = facts.modprobe_config().unwrap().obstacle(&file);
            let found = found.as_ref().map(|obstacle| (obstacle.kind, obstacle.module.as_str()));
            assert_eq!(found, expected, "{text} {cmdline}");
        }
    }
}
