//! Names on a kernel like Debian 13's linux-image-6.12.117+deb13-cloud-amd64, from which the lines
//! are: there fuse is built in and nft_counter has become part of nf_tables.

use super::*;
use crate::facts::testing::{TestHost, empty_host};

const RELEASE: &str = "6.12.117+deb13-cloud-amd64";
const DIR: &str = "/usr/lib/modules/6.12.117+deb13-cloud-amd64";
const DEP: &str = "\
kernel/fs/overlayfs/overlay.ko.xz:
kernel/net/netfilter/nft_compat.ko.xz: kernel/net/netfilter/nf_tables.ko.xz kernel/net/netfilter/x_tables.ko.xz
kernel/net/netfilter/nft_chain_nat.ko.xz: kernel/net/netfilter/nf_tables.ko.xz
kernel/net/netfilter/xt_MASQUERADE.ko.xz: kernel/net/netfilter/x_tables.ko.xz
kernel/drivers/i2c/i2c-dev.ko.xz:
";
const ALIAS: &str = "\
# Aliases extracted from modules themselves.
alias pci:v00001AF4d*sv*sd*bc*sc*i* virtio_pci
alias nfnetlink-subsys-11 nft_compat
alias nft-chain-2-nat nft_chain_nat
alias nft-chain-1-nat nft_chain_nat
alias ipt_MASQUERADE xt_MASQUERADE
alias block-major-7-* overlay
alias both overlay
alias both nft_compat
alias gone no_such_module
";
const MODINFO: &[u8] =
    b"fuse.alias=devname:fuse\0fuse.alias=fs-fuse\0fuse.license=GPL\0virtiofs.alias=fs-virtiofs\0both.alias=both\0";

fn kernel() -> TestHost {
    let mut host = empty_host()
        .file(&format!("{DIR}/modules.dep"), DEP)
        .file(&format!("{DIR}/modules.alias"), ALIAS)
        .file(&format!("{DIR}/modules.builtin"), "kernel/fs/mbcache.ko\nkernel/fs/fuse/fuse.ko\n")
        .file(&format!("{DIR}/modules.builtin.modinfo"), MODINFO);
    for line in DEP.lines() {
        let file = line.split(':').next().unwrap();
        host = host.file(&format!("{DIR}/{file}"), "");
    }
    host
}

fn resolve(host: TestHost, name: &str) -> Resolution {
    host.image().facts().resolve_modules(RELEASE, &[name]).unwrap()[name].clone()
}

#[test]
fn by_their_own_names() {
    let Resolution::BuiltIn { module, at } = resolve(kernel(), "fuse") else { panic!() };
    assert_eq!((module.as_str(), at.line, at.text.as_str()), ("fuse", Some(2), "kernel/fs/fuse/fuse.ko"));
    for name in ["i2c-dev", "i2c_dev"] {
        let Resolution::Loadable { files, alias } = resolve(kernel(), name) else { panic!("{name}") };
        assert_eq!((files[0].name.as_str(), files[0].at.line, alias), ("i2c_dev", Some(5), None));
        assert_eq!(files[0].path, format!("{DIR}/kernel/drivers/i2c/i2c-dev.ko.xz"));
    }
    let Resolution::Loadable { files, .. } = resolve(kernel(), "nft_compat") else { panic!() };
    assert_eq!(files[0].needs, ["nf_tables", "x_tables"]);
    assert_eq!(resolve(kernel(), "nft-expr-counter"), Resolution::Unknown);
    assert_eq!(resolve(kernel(), "xt_masquerade"), Resolution::Unknown, "case matters");
}

#[test]
fn by_alias() {
    for (name, module, line) in [
        ("nfnetlink-subsys-11", "nft_compat", 3),
        ("nft-chain-2-nat", "nft_chain_nat", 4),
        ("nft_chain_2_nat", "nft_chain_nat", 4),
        ("ipt_MASQUERADE", "xt_MASQUERADE", 6),
        ("block-major-7-0", "overlay", 7),
    ] {
        let resolution = resolve(kernel(), name);
        assert_eq!(resolution.modules(), [module], "{name}");
        let Resolution::Loadable { alias: Some(alias), .. } = resolution else { panic!("{name}") };
        assert_eq!(alias.line, Some(line), "{name}");
    }
    assert_eq!(resolve(kernel(), "both").modules(), ["overlay", "nft_compat"]);
    for (name, line) in [("gone", 10), ("pci:v00001AF4d1sv1sd1bc1sc1i1", 2)] {
        let Resolution::Dangling { alias } = resolve(kernel(), name) else { panic!("{name}") };
        assert_eq!(alias.line, Some(line), "{name}");
    }
}

#[test]
fn aliases_of_built_in_modules() {
    for (name, module) in [("fs-fuse", "fuse"), ("devname:fuse", "fuse"), ("fs-virtiofs", "virtiofs")] {
        let Resolution::BuiltIn { module: found, at } = resolve(kernel(), name) else { panic!("{name}") };
        assert_eq!(found, module);
        assert_eq!(&*at.path, format!("{DIR}/modules.builtin.modinfo"));
    }
}

#[test]
fn aliases_of_modprobe_d_come_first() {
    let host = kernel().file("/etc/modprobe.d/x.conf", "alias fs-fuse overlay\nalias overlay off\n");
    assert_eq!(resolve(host.clone(), "fs-fuse").modules(), ["overlay"]);
    let Resolution::Dangling { alias } = resolve(host, "overlay") else { panic!() };
    assert_eq!((&*alias.path, alias.line), ("/etc/modprobe.d/x.conf", Some(2)));
}

#[test]
fn a_listed_file_that_is_gone() {
    let overlay = format!("{DIR}/kernel/fs/overlayfs/overlay.ko.xz");
    let host = kernel().without(&overlay);
    for (name, by_alias) in [("overlay", false), ("both", true)] {
        let Resolution::FileMissing { file, alias } = resolve(host.clone(), name) else { panic!("{name}") };
        assert_eq!(
            (file.path.as_str(), file.at.line, alias.is_some()),
            (overlay.as_str(), Some(1), by_alias)
        );
    }
}

#[test]
fn without_modules_dep_the_files_speak() {
    let host = kernel().without(&format!("{DIR}/modules.dep"));
    let Resolution::Loadable { files, .. } = resolve(host.clone(), "i2c-dev") else { panic!() };
    assert_eq!(files[0].at, Evidence::path(&files[0].path, ""));
    assert_eq!(resolve(host, "no_such"), Resolution::Unknown);
}

#[test]
fn errors_are_kept_apart() {
    let facts = kernel().image().facts();
    assert!(facts.resolve_modules("5.0.0", &["fuse"]).unwrap_err().is_absent());
    let facts = kernel().error(&format!("{DIR}/modules.dep"), "denied").image().facts();
    assert!(matches!(facts.resolve_modules(RELEASE, &["fuse"]), Err(Unread::Denied { .. })));
    // Aliases are not needed for a name that is found without them.
    let facts = kernel().error(&format!("{DIR}/modules.alias"), "denied").image().facts();
    assert!(facts.resolve_modules(RELEASE, &["fuse", "overlay"]).is_ok());
    assert!(facts.resolve_modules(RELEASE, &["fs-fuse"]).is_err());
}
