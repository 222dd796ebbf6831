//! Kernel parameters, as configured and in effect. Configured means: what `systemd-sysctl.service`
//! writes at boot (`sysctl.d(5)`; systemd, `src/sysctl/sysctl.c`), else what the kernel command line
//! sets. `sysctl --system` of procps applies `/etc/sysctl.conf` last, over every other file; where
//! that makes a difference, it is told. OpenRC does as procps does (OpenRC, `init.d/sysctl.in`; Alpine,
//! `main/openrc/sysctl.initd`).

use std::rc::Rc;

use super::conf_files::{ConfFiles, Content};
use super::session::ServiceManager;
use super::sysctl_rules::{Rule, Rules, path_of, rules};
use super::{Evidence, Facts, Source, Sourced};
use crate::host::{Fact, OrAbsent, Unread};

/// The first port that users may bind (ip(7)), and with what the kernel starts.
pub const FIRST_PORT: (&str, u16) = ("net.ipv4.ip_unprivileged_port_start", 1024);
/// What procps reads last. systemd does not read it, unless a distribution links it into
/// `sysctl.d`, as Debian did up to 12 (`99-sysctl.conf`).
pub const PROCPS_FILE: &str = "/etc/sysctl.conf";

/// The value that a key gets at boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    /// The value, in the notation of [`one_spaced`].
    pub value: String,
    /// The line that wins.
    pub at: Evidence,
    /// The lines for the same key that it beats, in order of precedence, lowest first.
    pub shadows: Vec<Evidence>,
    /// What `sysctl --system` makes of the key, where that is another value.
    pub procps_differs: Fact<Option<Sourced<String>>>,
}

/// The rules of sysctl.d, and where among them something could not be read.
#[derive(Debug)]
struct SysctlConfig {
    rules: Rules,
    /// With and without [`PROCPS_FILE`] at the end.
    procps: Fact<Rules>,
    /// What could not be read, with the number of the first rule that comes after it: from there on
    /// a rule is certain.
    unread: Vec<(usize, Unread)>,
}

/// A value with its words one space apart. The kernel shows tabs between the numbers of a key that has
/// several (`kernel/sysctl.c`, `do_proc_dointvec`) and takes any white space.
pub fn one_spaced(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Facts {
    /// The value of a key such as `net.ipv4.ip_forward` in effect now.
    ///
    /// # Errors
    /// In an image root; [`Unread::Absent`] where this kernel has no such key, or not until a module
    /// is loaded.
    pub fn sysctl(&self, key: &str) -> Fact<Sourced<String>> {
        self.need_running(key)?;
        let source = self.source(&format!("/proc/sys/{}", path_of(key)))?;
        Ok(source.whole(one_spaced(source.text())))
    }

    /// The value that a key gets at boot; `None` where nothing sets it.
    ///
    /// # Errors
    /// Where a file or directory that could decide it cannot be read.
    pub fn sysctl_configured(&self, key: &str) -> Fact<Option<Configured>> {
        let config = self.sysctl_config();
        let path = path_of(key);
        let outcome = config.rules.outcome(&path);
        let certain_from = config.unread.iter().map(|(first_after, _)| *first_after).max().unwrap_or(0);
        if outcome.explicit.is_none_or(|number| number < certain_from)
            && let Some((_, why)) = config.unread.first()
        {
            return Err(why.clone());
        }
        let at_boot = self.sysctl_on_cmdline(&path);
        let mut shadows: Vec<Evidence> = Vec::new();
        let found = match outcome.winner {
            Some(rule) => {
                // What a file sets, it sets after the kernel did, so an unreadable command line
                // changes nothing.
                shadows.extend(at_boot.ok().flatten().map(|sourced| sourced.at));
                Some((rule.value.as_deref().map(one_spaced).unwrap_or_default(), rule.at.clone()))
            }
            None => at_boot?.map(|sourced| (sourced.value, sourced.at)),
        };
        shadows.extend(outcome.beaten.iter().map(|rule| rule.at.clone()));
        Ok(found.map(|(value, at)| {
            let procps_differs = self.sysctl_procps(key).map(|other| other.filter(|o| o.value != value));
            Configured { value, at, shadows, procps_differs }
        }))
    }

    /// The value that `sysctl --system` of procps gives a key; `None` where it leaves it alone.
    ///
    /// # Errors
    /// Where a file or directory that could decide it cannot be read.
    pub fn sysctl_procps(&self, key: &str) -> Fact<Option<Sourced<String>>> {
        let config = self.sysctl_config();
        let rules = config.procps.as_ref().map_err(Clone::clone)?;
        let outcome = rules.outcome(&path_of(key));
        if let (None, Some((_, why))) = (outcome.explicit, config.unread.first()) {
            return Err(why.clone());
        }
        let set =
            |rule: &Rule| Some(Sourced { value: one_spaced(rule.value.as_deref()?), at: rule.at.clone() });
        Ok(outcome.winner.and_then(set))
    }

    fn sysctl_config(&self) -> Rc<SysctlConfig> {
        self.memo("", || {
            let procps_file = self.source(PROCPS_FILE).or_absent();
            let config = sysctl_config(&self.conf_files("sysctl.d"), procps_file);
            match self.service_manager() {
                Ok(ServiceManager::OpenRc) => as_procps(config),
                Ok(ServiceManager::Systemd | ServiceManager::Other) | Err(_) => config,
            }
        })
    }

    /// `sysctl.KEY=VALUE` on the kernel command line, which the kernel itself applies before any
    /// process runs (`Documentation/admin-guide/kernel-parameters.txt`, "sysctl.*="). An image root
    /// has no command line yet.
    fn sysctl_on_cmdline(&self, path: &str) -> Fact<Option<Sourced<String>>> {
        let cmdline = self.boot_parameters()?;
        let sets = |name: &str| name.strip_prefix("sysctl.").is_some_and(|key| key.replace('.', "/") == path);
        let last = cmdline.parameters.iter().rev().find(|p| !p.for_init && sets(&p.name));
        Ok(last.and_then(|p| Some(Sourced { value: one_spaced(p.value.as_deref()?), at: p.at.clone() })))
    }
}

fn sysctl_config(files: &ConfFiles, procps_file: Fact<Option<Rc<Source>>>) -> SysctlConfig {
    let mut all: Vec<Rule> = Vec::new();
    // A directory that cannot be listed can hold a file of any name, so nothing is certain.
    let mut unread: Vec<(usize, Unread)> =
        files.unread_dirs.iter().map(|why| (usize::MAX, why.clone())).collect();
    for file in &files.files {
        match &file.content {
            Content::Text(source) => all.extend(rules(source)),
            Content::Mask(_) => {}
            Content::Unread(why) => unread.push((all.len(), why.clone())),
        }
    }
    let procps = procps_file.map(|file| {
        let mut with = all.clone();
        with.extend(file.iter().flat_map(|source| rules(source)));
        Rules::new(with)
    });
    SysctlConfig { rules: Rules::new(all), procps, unread }
}

/// Of a host on which what procps does is what happens at boot.
fn as_procps(mut config: SysctlConfig) -> SysctlConfig {
    match &config.procps {
        Ok(rules) => config.rules = rules.clone(),
        Err(why) => config.unread.push((usize::MAX, why.clone())),
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, empty_host};

    const KEY: &str = "net.ipv4.ip_forward";

    fn host() -> TestHost {
        empty_host()
            .file("/etc/sysctl.d/99-a.conf", "# on\nnet.ipv4.ip_forward = 1\n")
            .file("/usr/lib/sysctl.d/zz-vendor.conf", "net/ipv4/ip_forward=0\n")
            .file("/proc/cmdline", "root=/dev/vda sysctl.net.ipv4.ip_forward=2 x=\"a b\"\n")
    }

    fn shown(host: &TestHost) -> Fact<Option<(String, String, Vec<String>)>> {
        let found = host.clone().facts().sysctl_configured(KEY)?;
        Ok(found.map(|c| (c.value, c.at.to_string(), c.shadows.iter().map(Evidence::to_string).collect())))
    }

    #[test]
    fn the_last_file_wins_even_over_etc() {
        let expected = (
            "0".to_owned(),
            "/usr/lib/sysctl.d/zz-vendor.conf:1".to_owned(),
            vec!["/proc/cmdline:1".to_owned(), "/etc/sysctl.d/99-a.conf:2".to_owned()],
        );
        assert_eq!(shown(&host()), Ok(Some(expected)));
        let masked = host().file("/etc/sysctl.d/zz-vendor.conf", "");
        assert_eq!(shown(&masked).unwrap().unwrap().0, "1");
    }

    #[test]
    fn the_command_line_holds_where_no_file_speaks() {
        let cmdline = host().without("/etc/sysctl.d").without("/usr/lib/sysctl.d");
        let found = cmdline.clone().facts().sysctl_configured(KEY).unwrap().unwrap();
        assert_eq!((found.value.as_str(), found.at.text.as_str()), ("2", "sysctl.net.ipv4.ip_forward=2"));
        assert_eq!(shown(&cmdline.clone().image()), Ok(None));
        assert!(shown(&cmdline.error("/proc/cmdline", "denied")).is_err());
        assert_eq!(shown(&host().error("/proc/cmdline", "denied")).unwrap().unwrap().0, "0");
    }

    #[test]
    fn openrc_reads_sysctl_conf_last() {
        let conf = "# overrides /etc/sysctl.d/*\nnet.ipv4.ip_forward = 1\n";
        let openrc = host().dir("/run/openrc", "0755", 0).file("/etc/sysctl.conf", conf);
        let found = openrc.clone().facts().sysctl_configured(KEY).unwrap().unwrap();
        assert_eq!((found.value.as_str(), found.at.to_string().as_str()), ("1", "/etc/sysctl.conf:2"));
        assert_eq!(found.procps_differs, Ok(None));
        assert!(shown(&openrc.error("/etc/sysctl.conf", "denied")).is_err());
    }

    #[test]
    fn procps_reads_sysctl_conf_last() {
        let differs = |host: TestHost| {
            let found = host.facts().sysctl_configured(KEY).unwrap().unwrap();
            found.procps_differs.map(|other| other.map(|o| (o.value, o.at.to_string())))
        };
        assert_eq!(differs(host()), Ok(None));
        let other = host().file("/etc/sysctl.conf", "\nnet.ipv4.ip_forward=1\n");
        assert_eq!(differs(other.clone()), Ok(Some(("1".to_owned(), "/etc/sysctl.conf:2".to_owned()))));
        let denied = host().file("/etc/sysctl.conf", "").error("/etc/sysctl.conf", "denied");
        assert!(differs(denied).is_err());
        // Nothing but procps reads it: not configured, and yet somebody meant it to be.
        let alone = other.without("/etc/sysctl.d").without("/usr/lib/sysctl.d").without("/proc/cmdline");
        let facts = alone.facts();
        assert_eq!(facts.sysctl_configured(KEY), Ok(None));
        assert_eq!(facts.sysctl_procps(KEY).unwrap().unwrap().value, "1");
    }

    #[test]
    fn what_cannot_be_read_matters_only_where_it_could_decide() {
        let denied = |host: TestHost, path: &str| {
            host.file(path, "").path(path, |record| record.read_error = Some("denied".to_owned()))
        };
        assert_eq!(shown(&denied(host(), "/etc/sysctl.d/50.conf")).unwrap().unwrap().0, "0");
        let after = "/etc/sysctl.d/zzz.conf";
        assert_eq!(shown(&denied(host(), after)), Err(Unread::Denied { path: after.to_owned() }));
        assert!(shown(&host().error("/run/sysctl.d", "denied")).is_err());
        assert!(denied(host(), after).facts().sysctl_configured("kernel.x").is_err());
    }

    #[test]
    fn all_places_write_several_numbers_alike() {
        const RANGE: &str = "net.ipv4.ping_group_range";
        let configured = |path: &str, text: &str| {
            let facts = empty_host().file("/proc/cmdline", "").file(path, text).facts();
            facts.sysctl_configured(RANGE).unwrap().map(|found| found.value)
        };
        let (file, conf) = ("/etc/sysctl.d/a.conf", format!("{RANGE} = 0 \t 5\t\n"));
        assert_eq!(configured(file, &conf).as_deref(), Some("0 5"));
        let cmdline = format!("sysctl.{RANGE}=\"0\t5\"\n");
        assert_eq!(configured("/proc/cmdline", &cmdline).as_deref(), Some("0 5"));
        let same = empty_host().file("/proc/cmdline", "").file(file, conf);
        let same = same.file("/etc/sysctl.conf", format!("{RANGE}=0 5\n")).facts();
        assert_eq!(same.sysctl_configured(RANGE).unwrap().unwrap().procps_differs, Ok(None));
        assert_eq!(same.sysctl_procps(RANGE).unwrap().unwrap().value, "0 5");
    }

    #[test]
    fn in_effect_is_what_the_kernel_says() {
        let facts = empty_host()
            .file("/proc/sys/net/ipv4/ping_group_range", "1\t0\n")
            .file("/proc/sys/net/ipv4/conf/eth0.100/forwarding", "1\n")
            .facts();
        assert_eq!(facts.sysctl("net.ipv4.ping_group_range").unwrap().value, "1 0");
        assert_eq!(facts.sysctl("net.ipv4.conf.eth0/100.forwarding").unwrap().value, "1");
        assert!(matches!(facts.sysctl("net.bridge.x"), Err(Unread::Absent { .. })));
        assert!(matches!(empty_host().image().facts().sysctl(KEY), Err(Unread::NotRunning { .. })));
    }
}
