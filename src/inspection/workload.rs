//! The files of a workload, which lie on the machine that edgeprep runs on.

use std::io::Read;

use nix::errno::Errno;

use super::RequestError;
use crate::facts::Source;
use crate::host::{CONFIG_LIMIT_BYTES, Host, Unread};
use crate::workload::quadlet::{Named, Unit, played};
use crate::workload::{Played, Workload};

/// What the files of a workload ask, which are files of the machine that edgeprep runs on; `-` is standard
/// input. `None` where none is named.
///
/// # Errors
/// [`RequestError`] where one cannot be read, or is not what its name says.
pub fn workload(files: &[String]) -> Result<Option<Workload>, RequestError> {
    let mut sources: Vec<Source> = Vec::new();
    for file in files {
        if sources.iter().any(|known| known.path() == file) {
            continue;
        }
        let bytes = if file == "-" { standard_input()? } else { read(file)? };
        sources.push(Source::new(file, String::from_utf8_lossy(&bytes)));
    }
    let played: Vec<Played> = sources.iter().filter_map(|kube| follow(kube, &sources)).collect();
    Ok(if sources.is_empty() { None } else { Some(Workload::parse_played(sources, &played)?) })
}

/// What a `.kube` file plays that is not named itself, read with the rights of its owner; `None` for another
/// file, and for a template.
fn follow(kube: &Source, named: &[Source]) -> Option<Played> {
    let unit = Unit::read(kube, [])?;
    let files = played(&unit);
    if files.is_empty() || unit.is_template() {
        return None;
    }
    let mut all = Played { kube: kube.path().to_owned(), yaml: vec![], maps: vec![], unseen: vec![] };
    let mut bytes = 0;
    for Named { key, path, at, .. } in files {
        match below(kube.path(), &path)
            .map_or(Err("has a specifier".to_owned()), |path| follow_one(kube, &path))
        {
            Ok(source) if named.iter().chain(&all.yaml).any(|known| known.text() == source.text()) => {}
            Ok(source) => {
                bytes += source.text().len() as u64;
                if bytes > CONFIG_LIMIT_BYTES {
                    all.unseen
                        .push((at.clone(), format!("what {path} asks is not looked at: there is too much")));
                    break;
                }
                if key == "ConfigMap" { &mut all.maps } else { &mut all.yaml }.push(source);
            }
            Err(why) => {
                let text = format!("what {path} asks is not looked at, which {why}: name it with --workload");
                all.unseen.push((at.clone(), text));
            }
        }
    }
    Some(all)
}

/// A path in a file, from where that is named from; `None` where systemd puts something in.
fn below(file: &str, path: &str) -> Option<String> {
    match file.rsplit_once('/') {
        _ if path.contains('%') => None,
        Some((dir, _)) if !path.starts_with('/') => Some(format!("{dir}/{path}")),
        _ => Some(path.to_owned()),
    }
}

fn follow_one(kube: &Source, path: &str) -> Result<Source, String> {
    let host = Host::live();
    let owner = host.stat(kube.path()).map_err(|why| why.to_string())?;
    let (stat, bytes) = host.read(path, CONFIG_LIMIT_BYTES).map_err(|why| match why {
        Unread::Absent { .. } => "is not there".to_owned(),
        _ => "is not readable".to_owned(),
    })?;
    if !stat.allows(owner.uid, &[owner.gid], 4) {
        return Err(format!("the owner of {} cannot read", kube.path()));
    }
    Ok(Source::new(path, String::from_utf8_lossy(&bytes)))
}

/// A file of the machine that edgeprep runs on, whatever host is looked at.
pub(super) fn read(path: &str) -> Result<Vec<u8>, Unread> {
    Host::live().read(path, CONFIG_LIMIT_BYTES).map(|(_, bytes)| bytes)
}

fn standard_input() -> Result<Vec<u8>, Unread> {
    let path = || "standard input".to_owned();
    let mut bytes = Vec::new();
    let failed = |error: std::io::Error| Unread::Failed {
        path: path(),
        errno: Errno::from_raw(error.raw_os_error().unwrap_or(0)),
    };
    std::io::stdin().take(CONFIG_LIMIT_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > CONFIG_LIMIT_BYTES {
        return Err(Unread::TooLarge { path: path(), limit_bytes: CONFIG_LIMIT_BYTES });
    }
    Ok(bytes)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "what is read are files of this machine")]
mod tests {
    use super::*;
    use crate::workload::What;

    const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n    - image: a\n      \
                       ports: [{hostPort: 8080, containerPort: 80}]\n";

    #[test]
    fn what_a_kube_file_plays_is_asked_too() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (kube, yaml) = (file("a.kube", "[Kube]\nYaml=a.yaml\n"), file("a.yaml", POD));
        let ports = |files: &[String]| {
            let all = workload(files).unwrap().unwrap();
            let is_port = |what: &What| matches!(what, What::HostPort { .. });
            let at = all.asks.iter().filter(|ask| is_port(&ask.what)).map(|ask| ask.at.to_string());
            assert_eq!(all.files, files, "what is played is not named");
            let wrong = all.asks.iter().filter(|ask| matches!(ask.what, What::Wrong(_))).count();
            (at.collect::<Vec<_>>(), wrong)
        };
        assert_eq!(ports(std::slice::from_ref(&kube)), (vec![format!("{yaml}:7")], 0));
        assert_eq!(ports(&[kube, yaml.clone()]), (vec![format!("{yaml}:7")], 0), "once");
        let unseen = |text: &str| {
            let all = workload(&[file("b.kube", text)]).unwrap().unwrap();
            all.asks.into_iter().find_map(|ask| match ask.what {
                What::Unseen(text) => Some((ask.at.line, text)),
                _ => None,
            })
        };
        let not = |which: &str| Some((Some(2), format!("what {which}: name it with --workload")));
        assert_eq!(
            unseen("[Kube]\nYaml=%h/a.yaml\n"),
            not("%h/a.yaml asks is not looked at, which has a specifier")
        );
        assert_eq!(unseen("[Kube]\nYaml=b.yaml\n"), not("b.yaml asks is not looked at, which is not there"));
        let elsewhere = unseen("[Kube]\nPublishPort=1:80\nYaml=a.yaml\n").unwrap().1;
        assert!(elsewhere.starts_with("whether it takes the place of a hostPort"), "{elsewhere}");
        file("c.yaml", "just text\n");
        assert!(workload(&[file("c.kube", "[Kube]\nYaml=c.yaml\n")]).is_err());
        assert_eq!(below("a.kube", "b.yaml").as_deref(), Some("b.yaml"));
    }
}
