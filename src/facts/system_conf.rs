//! `system.conf` of the system manager and its drop-ins (`systemd-system.conf(5)`), by key.

use std::rc::Rc;

use super::unit_syntax::Assignment;
use super::{Facts, Sourced};
use crate::host::Fact;

/// All assignments of the `[Manager]` section, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemConf(Vec<Assignment>);

impl SystemConf {
    /// The values of a key, in order.
    pub fn values<'a>(&'a self, key: &'a str) -> impl DoubleEndedIterator<Item = &'a Sourced<String>> + 'a {
        self.0.iter().filter(move |a| a.section == "Manager" && a.key == key).map(|a| &a.value)
    }
}

impl Facts {
    /// The configuration of the system manager: of `systemd/system.conf` the first file that exists, then
    /// the drop-ins.
    ///
    /// # Errors
    /// Where a file or directory that could decide cannot be read.
    pub fn system_conf(&self) -> Fact<Rc<SystemConf>> {
        self.memo_fact("", || Ok(SystemConf(self.systemd_conf("systemd/system.conf")?)))
    }
}

#[cfg(test)]
mod tests {

    use crate::facts::testing::empty_host;
    use crate::host::Unread;

    const MAIN: &str = "/etc/systemd/system.conf";

    #[test]
    fn the_first_main_file_and_then_the_drop_ins() {
        let host = empty_host()
            .file(MAIN, "[Manager]\n#DefaultLimitNOFILE=1024:524288\nDefaultLimitNOFILE=1\n[Other]\nA=1\n")
            .file("/usr/lib/systemd/system.conf", "[Manager]\nA=2\n")
            .file("/usr/lib/systemd/system.conf.d/20-file-limits.conf", "[Manager]\nDefaultLimitNOFILE=2\n");
        let conf = host.clone().facts().system_conf().unwrap();
        let values: Vec<&str> = conf.values("DefaultLimitNOFILE").map(|value| value.value.as_str()).collect();
        assert_eq!((values, conf.values("A").count()), (vec!["1", "2"], 0));
        let denied = host.path(MAIN, |record| record.read_error = Some("denied".to_owned()));
        assert_eq!(denied.facts().system_conf(), Err(Unread::Denied { path: MAIN.to_owned() }));
    }
}
