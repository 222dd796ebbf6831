//! Network interfaces, from `/sys/class/net` (`Documentation/ABI/testing/sysfs-class-net`).

use std::rc::Rc;

use super::{Evidence, Facts};
use crate::host::{Fact, OrAbsent, Unread};

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// The largest packet it sends, in bytes.
    pub mtu_bytes: u32,
    /// `operstate`, such as `up`, `down` or, for loopback and tunnels, `unknown`.
    pub operstate: String,
    /// The MTU as it stands there.
    pub at: Evidence,
}

impl Interface {
    /// Whether it is up, as far as its driver tells: those that do not tell are taken to be.
    pub fn is_up(&self) -> bool {
        matches!(self.operstate.as_str(), "up" | "unknown")
    }
}

impl Facts {
    /// The interfaces of the caller's network namespace by name, loopback among them.
    ///
    /// # Errors
    /// [`Unread::NotRunning`] in an image root, and why they could not be read.
    pub fn interfaces(&self) -> Fact<Rc<Vec<Interface>>> {
        self.need_running("the network interfaces")?;
        self.memo_fact("", || {
            let mut interfaces = Vec::new();
            for entry in self.list("/sys/class/net")?.iter() {
                let dir = format!("/sys/class/net/{}", entry.name);
                // `bonding_masters` is a file, and an interface can be gone by now.
                let Some(mtu) = self.source(&format!("{dir}/mtu")).or_absent()? else { continue };
                let mtu_bytes = mtu.text().trim().parse().map_err(|_| Unread::Malformed {
                    path: mtu.path().to_owned(),
                    line: Some(1),
                    expected: "expected a number of bytes".to_owned(),
                })?;
                let operstate = self.source(&format!("{dir}/operstate")).or_absent()?;
                let operstate =
                    operstate.map_or_else(|| "unknown".to_owned(), |s| s.text().trim().to_owned());
                interfaces.push(Interface {
                    name: entry.name.clone(),
                    mtu_bytes,
                    operstate,
                    at: mtu.whole(()).at,
                });
            }
            Ok(interfaces)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::empty_host;

    #[test]
    fn interfaces_have_mtu_and_state() {
        let host = empty_host()
            .file("/sys/class/net/eth0/mtu", "1460\n")
            .file("/sys/class/net/eth0/operstate", "up\n")
            .file("/sys/class/net/lo/mtu", "65536\n")
            .file("/sys/class/net/wlan0/mtu", "1500\n")
            .file("/sys/class/net/wlan0/operstate", "dormant\n")
            .file("/sys/class/net/bonding_masters", "\n");
        let found = host.clone().facts().interfaces().unwrap();
        let seen: Vec<_> = found.iter().map(|i| (i.name.as_str(), i.mtu_bytes, i.is_up())).collect();
        assert_eq!(seen, [("eth0", 1460, true), ("lo", 65_536, true), ("wlan0", 1500, false)]);
        assert_eq!(found[0].at.to_string(), "/sys/class/net/eth0/mtu:1");
        let bad = host.clone().file("/sys/class/net/eth0/mtu", "many\n").facts().interfaces();
        assert!(matches!(bad, Err(Unread::Malformed { .. })));
        assert!(host.clone().error("/sys/class/net/eth0/mtu", "denied").facts().interfaces().is_err());
        assert!(matches!(host.image().facts().interfaces(), Err(Unread::NotRunning { .. })));
    }
}
