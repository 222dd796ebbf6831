//! A script of U-Boot that is written by hand and compiled: Arch Linux ARM's `boot.txt` with `mkscr`
//! (PKGBUILDs: `alarm/uboot-*`), or a `boot.cmd`.

use super::u_boot::{Script, only_bootargs, run};
use super::{Boot, BootWant, Carry, Method, Place, Syntax, armbian, line, traces};
use crate::facts::kernel_cmdline::KernelCmdline;
use crate::facts::{Facts, Source};
use crate::host::{Fact, OrAbsent, Unread};

/// What the script is compiled from.
const FILES: [&str; 2] = ["/boot/boot.txt", "/boot/boot.cmd"];
const SCRIPT: &str = "boot.scr";
/// What Arch Linux ARM compiles it with.
const MKSCR: &str = "mkscr";

pub(super) fn find(facts: &Facts, want: &BootWant) -> Fact<Option<Boot>> {
    let named: Vec<&str> = want.files.iter().map(String::as_str).collect();
    for path in if named.is_empty() { FILES.as_slice() } else { &named } {
        let Some(source) = facts.source(path).or_absent()? else { continue };
        let Some((dir, name)) = path.rsplit_once('/') else { continue };
        let compiled = format!("{dir}/{SCRIPT}");
        if facts.stat(&compiled).or_absent()?.is_none() || armbian::is_other_loader(facts, want)? {
            return Ok(None);
        }
        let script = facts.u_boot_script(&compiled)?;
        let Some(script) = &*script else { return Ok(None) };
        return look(facts, want, &source, (dir, name), script);
    }
    Ok(None)
}

fn look(
    facts: &Facts,
    want: &BootWant,
    source: &Source,
    (dir, name): (&str, &str),
    script: &Script,
) -> Fact<Option<Boot>> {
    let compiled = script.source.path();
    let malformed = |why: String| Unread::Malformed {
        path: compiled.to_owned(),
        line: None,
        expected: format!("{why}: which words are passed cannot be told"),
    };
    let load = |name: &str| facts.source(&format!("{dir}/{name}")).or_absent();
    let exists = |name: &str| facts.stat(&format!("{dir}/{name}")).or_absent().map(|stat| stat.is_some());
    let assembled = run(&script.source, load, exists)?.map_err(malformed)?;
    if !assembled.texts.is_empty() && assembled.takes.contains("extraargs") {
        return Ok(None);
    }
    let Some(seen) = traces::live(facts, want, Method::BootScript, &assembled.words)? else {
        return Ok(None);
    };
    let set = only_bootargs(script.source.text()).map_err(malformed)?;
    let place = match only_bootargs(source.text()) {
        Ok(set) => Ok(Place {
            path: source.path().to_owned(),
            syntax: Syntax::UBootScript,
            words: words(source, set.line, source.text().get(set.range)),
            carry: vec![carry(facts, script, dir, name)?],
        }),
        Err(why) => Err(format!("{}: {why}", source.path())),
    };
    let mut at = vec![script.source.at(set.line, ()).at];
    at.extend(seen);
    Ok(Some(Boot {
        doubt: assembled.doubt,
        method: Method::BootScript,
        at,
        before: None,
        next: assembled.words,
        unheard: Vec::new(),
        place,
    }))
}

fn words(source: &Source, number: u32, text: Option<&str>) -> KernelCmdline {
    line::words(source.path(), number, text.unwrap_or_default())
}

/// What compiles the script.
fn carry(facts: &Facts, script: &Script, dir: &str, name: &str) -> Fact<Carry> {
    let is_arch = facts.stat(&format!("{dir}/{MKSCR}")).or_absent()?.is_some();
    let arch = script.arch.unwrap_or("arm");
    let words: &[&str] = if is_arch && name == "boot.txt" {
        &["./mkscr"]
    } else {
        &["mkimage", "-A", arch, "-O", "linux", "-T", "script", "-C", "none", "-d", name, SCRIPT]
    };
    Ok(Carry { dir: Some(dir.to_owned()), ..Carry::new(words) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::boot::Edit;
    use crate::facts::boot::u_boot::mkimage;
    use crate::facts::testing::{TestHost, empty_host};

    /// Arch Linux ARM, PKGBUILDs: `alarm/uboot-raspberrypi/boot.txt.v3`.
    const RASPBERRY_PI: &str = r#"# After modifying, run ./mkscr

# Set root partition to the second partition of boot device
part uuid ${devtype} ${devnum}:2 uuid

setenv bootargs console=ttyS1,115200 console=tty0 root=PARTUUID=${uuid} rw rootwait smsc95xx.macaddr="${usbethaddr}"

if load ${devtype} ${devnum}:${bootpart} ${kernel_addr_r} /Image; then
  if load ${devtype} ${devnum}:${bootpart} ${fdt_addr_r} /dtbs/${fdtfile}; then
    if load ${devtype} ${devnum}:${bootpart} ${ramdisk_addr_r} /initramfs-linux.img; then
      booti ${kernel_addr_r} ${ramdisk_addr_r}:${filesize} ${fdt_addr_r};
    else
      booti ${kernel_addr_r} - ${fdt_addr_r};
    fi;
  fi;
fi
"#;

    /// `alarm/uboot-dragonboard410c/boot.txt`, its first lines.
    const DRAGONBOARD: &str = r#"test -n "${distro_bootpart}" || setenv distro_bootpart 1
part uuid ${devtype} ${devnum}:${distro_bootpart} uuid
setenv bootargs "console=tty1 console=ttyMSM0,115200n8 root=PARTUUID=${uuid} rw rootwait earlycon"
fdt addr 0x81e00000
"#;

    fn board(text: &str, compiled: &str) -> TestHost {
        empty_host()
            .file("/boot/boot.txt", text)
            .file("/boot/boot.scr", mkimage(22, compiled))
            .file("/boot/mkscr", "#!/bin/bash\n")
    }

    fn found(host: TestHost) -> Boot {
        find(&host.facts(), &BootWant::default()).unwrap().unwrap()
    }

    fn words(words: &KernelCmdline) -> Vec<&str> {
        words.parameters.iter().map(|word| &*word.at.text).collect()
    }

    #[test]
    fn arch_linux_arm_on_a_raspberry_pi() {
        let boot = found(board(RASPBERRY_PI, RASPBERRY_PI).image());
        assert_eq!(words(&boot.next), ["console=ttyS1,115200", "console=tty0", "rw", "rootwait"]);
        assert_eq!(boot.at[0].to_string(), "/boot/boot.scr:6");
        let place = boot.place.unwrap();
        assert_eq!(
            (place.path.as_str(), place.carry[0].command().as_str()),
            ("/boot/boot.txt", "cd /boot && sudo ./mkscr")
        );
        let edited = place.syntax.edit(RASPBERRY_PI, Edit::Last("cgroup_enable=memory")).unwrap();
        assert_eq!(
            edited,
            RASPBERRY_PI.replace("\"${usbethaddr}\"", "\"${usbethaddr}\" cgroup_enable=memory")
        );
        let boot = found(board(&edited, RASPBERRY_PI));
        assert!(boot.place.as_ref().unwrap().passes("cgroup_enable=memory"));
        assert!(!boot.passes("cgroup_enable=memory"), "mkscr was not run");
        assert!(found(board(&edited, &edited)).passes("cgroup_enable=memory"));
    }

    #[test]
    fn words_in_quotes_and_other_compilers() {
        let host = board(DRAGONBOARD, DRAGONBOARD).without("/boot/mkscr");
        let place = found(host.clone()).place.unwrap();
        let edited = place.syntax.edit(DRAGONBOARD, Edit::Last("a=1")).unwrap();
        assert_eq!(edited, DRAGONBOARD.replace("earlycon\"", "earlycon a=1\""));
        let step = "mkimage -A arm64 -O linux -T script -C none -d boot.txt boot.scr";
        assert_eq!(place.carry[0].to_string(), step);
        let cmd = host.without("/boot/boot.txt").file("/boot/boot.cmd", DRAGONBOARD);
        assert_eq!(found(cmd).place.unwrap().path, "/boot/boot.cmd");
    }

    #[test]
    fn what_runs_shows_whether_it_is_left_over() {
        let now = |text: &str| board(DRAGONBOARD, DRAGONBOARD).file("/proc/cmdline", text);
        let boot = found(now("console=tty1 console=ttyMSM0,115200n8 root=PARTUUID=1 rw rootwait earlycon\n"));
        assert_eq!(boot.at[1].text, "console=tty1");
        for other in [
            "console=tty1 root=/dev/vda1 ro quiet\n",
            "BOOT_IMAGE=/vmlinuz console=tty1 rw rootwait earlycon\n",
        ] {
            assert_eq!(find(&now(other).facts(), &BootWant::default()), Ok(None), "{other}");
        }
        let want = BootWant { method: Some(Method::BootScript), ..BootWant::default() };
        assert!(find(&now("console=ttyS0 ro quiet\n").facts(), &want).unwrap().is_some(), "policy says so");
    }

    #[test]
    fn what_cannot_be_told_is_said() {
        let twice = format!("{DRAGONBOARD}if test -e a; then setenv bootargs b; fi\n");
        let facts = board(&twice, &twice).facts();
        assert!(matches!(find(&facts, &BootWant::default()), Err(Unread::Malformed { .. })));
        let boot = found(board(&twice, DRAGONBOARD));
        assert!(boot.place.unwrap_err().contains("both set bootargs"));
        let none = |host: TestHost| assert_eq!(find(&host.facts(), &BootWant::default()), Ok(None));
        none(empty_host());
        none(board(DRAGONBOARD, DRAGONBOARD).without("/boot/boot.scr"));
        none(board(DRAGONBOARD, DRAGONBOARD).without("/boot/boot.txt"));
    }
}
