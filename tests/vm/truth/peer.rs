//! Other programs that say whether a host is ready.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::machine::Machine;
use super::trial::STEP;

/// Another program that says whether a host is ready.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// Its script and what lies beside it, as an archive.
    pub(crate) files: Vec<u8>,
    script: &'static str,
    /// It looks at nothing but the kernel and how that was booted: asked once for each.
    pub(crate) of_kernel: bool,
}

/// The peers whose sources are given.
pub(crate) fn peers(usernetes: Option<&Path>, moby: Option<&Path>) -> Result<Vec<Peer>> {
    let usernetes = usernetes.map(|dir| {
        Ok::<_, anyhow::Error>(Peer {
            name: "Usernetes' check-preflight.sh",
            files: packed(&dir.join("Makefile.d"))?,
            script: "as_user env CONTAINER_ENGINE=podman bash /root/peer/check-preflight.sh",
            of_kernel: false,
        })
    });
    // It is for the kernel of the machine; what is missing of that is in its text, not in its exit code, beside
    // a program of AppArmor. It takes zgrep some two hundred times, a script that is slow here, and the file is
    // not compressed.
    let moby = moby.map(|dir| {
        Ok(Peer {
            name: "Moby's check-config.sh",
            files: packed(&dir.join("contrib"))?,
            script: "ln -sf /bin/grep /root/peer/zgrep
                said=$(PATH=/root/peer:$PATH bash /root/peer/check-config.sh 2>&1); echo \"$said\"
                ! sed -n '/Generally Necessary/,/Optional/p' <<<\"$said\" | grep missing | grep -qv apparmor_parser",
            of_kernel: true,
        })
    });
    usernetes.into_iter().chain(moby).collect()
}

/// A folder as an archive, which is the same as long as its files are.
fn packed(folder: &Path) -> Result<Vec<u8>> {
    let as_it_is = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "-c", "."];
    let tar = Command::new("tar").arg("-C").arg(folder).args(as_it_is).output().context("tar")?;
    if !tar.status.success() {
        bail!("{}", String::from_utf8_lossy(&tar.stderr).trim());
    }
    Ok(tar.stdout)
}

impl Peer {
    /// Whether it says that the host is ready.
    pub(crate) fn ask(&self, machine: &mut Machine) -> Result<bool> {
        machine.put("/root/peer.tar", "644", &self.files)?;
        let unpack =
            "rm -rf /root/peer; mkdir /root/peer; tar -C /root/peer -xf /root/peer.tar; chmod 755 /root";
        Ok(machine.run(&format!("{unpack}\n{}", self.script), STEP)?.code == 0)
    }
}
