//! What sets the clock: services that ask the network for the time, and a clock that runs while the
//! machine is off.

use super::{Evidence, Facts};
use crate::host::{Fact, OrAbsent};

/// The services, by their names in the distributions.
const SERVICES: [&str; 8] = [
    TIMESYNCD,
    "chrony.service",
    "chronyd.service",
    "ntpsec.service",
    "ntp.service",
    "ntpd.service",
    "ntpd-rs.service",
    "openntpd.service",
];
/// Where their `WantedBy=` puts them.
const TARGETS: [&str; 2] = ["sysinit.target.wants", "multi-user.target.wants"];
const TIMESYNCD: &str = "systemd-timesyncd.service";
/// What timesyncd touches each time that it has synchronised the clock (systemd-timesyncd.service(8), "Files").
pub const SYNCHRONIZED: &str = "/run/systemd/timesync/synchronized";
/// The same of OpenRC.
const RUNLEVELS: [&str; 2] = ["/etc/runlevels/boot", "/etc/runlevels/default"];
const SCRIPTS: [&str; 3] = ["chronyd", "ntpd", "openntpd"];

impl Facts {
    /// What starts a service at boot that sets the clock.
    ///
    /// # Errors
    /// Why a directory could not be listed, or a unit not be read.
    pub fn time_service(&self) -> Fact<Option<Evidence>> {
        for dir in self.system_unit_dirs() {
            for target in TARGETS {
                let below = format!("{dir}/{target}");
                for service in SERVICES {
                    if !self.holds(&below, service)? {
                        continue;
                    }
                    let unit = self.unit(service)?;
                    if unit.fragment.is_some() && unit.masked.is_none() {
                        return Ok(Some(Evidence::path(&format!("{below}/{service}"), "")));
                    }
                }
            }
        }
        for dir in RUNLEVELS {
            for script in SCRIPTS {
                if self.holds(dir, script)? {
                    return Ok(Some(Evidence::path(&format!("{dir}/{script}"), "")));
                }
            }
        }
        Ok(None)
    }

    /// Whether timesyncd has synchronised the clock since the boot; `None` where another service looks after
    /// it, as after a package that disables timesyncd, or none does.
    ///
    /// # Errors
    /// In an image root, and why it could not be looked at.
    pub fn has_synchronized(&self) -> Fact<Option<bool>> {
        self.need_running("whether the clock was synchronised")?;
        match self.time_service()? {
            Some(at) if at.path.ends_with(TIMESYNCD) => {
                Ok(Some(self.stat(SYNCHRONIZED).or_absent()?.is_some()))
            }
            Some(_) | None => Ok(None),
        }
    }

    /// The first such service of systemd's that is installed.
    ///
    /// # Errors
    /// Why a unit could not be read.
    pub fn installed_time_service(&self) -> Fact<Option<&'static str>> {
        for service in SERVICES {
            let unit = self.unit(service)?;
            if unit.fragment.is_some() && unit.masked.is_none() {
                return Ok(Some(service));
            }
        }
        Ok(None)
    }

    /// A clock that the kernel starts with (`rtc(4)`). Whether a battery keeps it is not known.
    ///
    /// # Errors
    /// In an image root, and why it could not be looked at.
    pub fn hardware_clock(&self) -> Fact<Option<Evidence>> {
        self.need_running("whether there is a hardware clock")?;
        let clocks = self.list("/sys/class/rtc").or_absent()?;
        let first = clocks.iter().flat_map(|clocks| clocks.iter()).next();
        Ok(first.map(|clock| Evidence::path(&format!("/sys/class/rtc/{}", clock.name), "exists")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, empty_host};

    const UNIT: &str = "/usr/lib/systemd/system/systemd-timesyncd.service";
    const WANTS: &str = "/etc/systemd/system/sysinit.target.wants/systemd-timesyncd.service";

    fn service(host: TestHost) -> Option<String> {
        host.facts().time_service().unwrap().map(|at| at.to_string())
    }

    #[test]
    fn a_service_counts_that_is_there_enabled_and_not_masked() {
        let link = |record: &mut crate::host::PathRecord| record.link = Some(UNIT.to_owned());
        let host = empty_host().file(UNIT, "[Service]\nType=notify\n");
        assert_eq!(service(host.clone()), None);
        assert_eq!(host.clone().facts().installed_time_service(), Ok(Some("systemd-timesyncd.service")));
        assert_eq!(empty_host().facts().installed_time_service(), Ok(None));
        let enabled = host.file(WANTS, "").path(WANTS, link);
        assert_eq!(service(enabled.clone()).as_deref(), Some(WANTS));
        assert_eq!(service(enabled.clone().without(UNIT)), None);
        let mask = "/etc/systemd/system/systemd-timesyncd.service";
        let masked = enabled.file(mask, "").path(mask, |record| record.link = Some("/dev/null".to_owned()));
        assert_eq!(service(masked), None);
        let alpine =
            empty_host().dir("/etc/runlevels/default", "0755", 0).file("/etc/runlevels/default/chronyd", "");
        assert_eq!(service(alpine).as_deref(), Some("/etc/runlevels/default/chronyd"));
    }

    #[test]
    fn timesyncd_leaves_a_file() {
        let link = |record: &mut crate::host::PathRecord| record.link = Some(UNIT.to_owned());
        let host = empty_host().file(UNIT, "[Service]\nType=notify\n").file(WANTS, "").path(WANTS, link);
        let has_synchronized = |host: TestHost| host.facts().has_synchronized();
        assert_eq!(has_synchronized(host.clone()), Ok(Some(false)));
        assert_eq!(has_synchronized(host.clone().file(SYNCHRONIZED, "")), Ok(Some(true)));
        assert!(has_synchronized(host.clone().error(SYNCHRONIZED, "denied")).is_err());
        assert_eq!(has_synchronized(host.clone().without(WANTS)), Ok(None));
        assert!(has_synchronized(host.image()).is_err());
    }

    #[test]
    fn a_hardware_clock_has_a_device() {
        assert_eq!(empty_host().facts().hardware_clock(), Ok(None));
        let host =
            empty_host().dir("/sys/class/rtc", "0755", 0).file("/sys/class/rtc/rtc0/name", "rtc_cmos\n");
        let found = host.clone().facts().hardware_clock().unwrap().map(|at| at.to_string());
        assert_eq!(found.as_deref(), Some("/sys/class/rtc/rtc0"));
        assert!(host.image().facts().hardware_clock().is_err());
    }
}
