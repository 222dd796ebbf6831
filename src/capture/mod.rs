//! Makes a capture of what was read: leaves secrets and, unless they are wanted, identities out, and
//! packs the rest.

mod boot;
mod k3s;
pub(crate) mod redaction;

use sha2::{Digest, Sha256};

use crate::facts::Source;
use crate::facts::machine_id::{is_localhost, is_node_name, static_hostname};
use crate::host::Recording;

/// Files that hold the identity of a machine.
const MACHINE_ID: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];
const HOST_NAME: [&str; 2] = ["/etc/hostname", "/proc/sys/kernel/hostname"];

/// The first 128 bits of the SHA-256 of an identity, in hexadecimal.
pub fn identity_hash(identity: &str) -> String {
    Sha256::digest(identity.trim().as_bytes())[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The recording as it may be given away: for `users`, without secrets, with identities hashed.
pub fn finish(mut recording: Recording, users: Vec<String>, hash_identity: bool) -> Recording {
    recording.toml.origin = format!("edgeprep {} capture", env!("CARGO_PKG_VERSION"));
    recording.toml.users = users;
    recording.toml.identity_hashed = hash_identity;
    for (path, bytes) in &mut recording.files {
        let Ok(text) = std::str::from_utf8(bytes) else { continue };
        let known = !text.trim().is_empty() && text.trim() != "uninitialized";
        if hash_identity && known && MACHINE_ID.contains(&path.as_str()) {
            *bytes = format!("{}\n", identity_hash(text)).into_bytes();
        } else if hash_identity && known && HOST_NAME.contains(&path.as_str()) {
            *bytes = host_name(path, text).into_bytes();
        } else if let Some(clean) = redaction::clean(path, text) {
            *bytes = clean.into_bytes();
        }
    }
    for value in recording.toml.caller.environment.values_mut() {
        *value = redaction::without_userinfo(value);
    }
    recording
}

/// A name in place of a host's, of which the check of the host name says the same.
fn host_name(path: &str, text: &str) -> String {
    let name = static_hostname(&Source::new(path, text)).map(|name| name.value).unwrap_or_default();
    match name.as_str() {
        "" => "\n".to_owned(),
        name if is_localhost(name) => format!("{name}\n"),
        name => {
            let separator = if is_node_name(&name.to_lowercase()) { '-' } else { '_' };
            format!("host{separator}{}\n", &identity_hash(name)[..8])
        }
    }
}

/// A tar of the recording, the same bytes for the same recording.
///
/// # Errors
/// When a name does not fit a tar.
pub fn tar(recording: &Recording) -> anyhow::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    let toml = toml::to_string(&recording.toml)?;
    append(&mut builder, "host.toml", toml.as_bytes())?;
    for (path, bytes) in &recording.files {
        append(&mut builder, path.trim_start_matches('/'), bytes)?;
    }
    Ok(builder.into_inner()?)
}

fn append(builder: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, name, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_hashed_alike_everywhere() {
        assert_eq!(identity_hash("abc\n"), identity_hash("abc"));
        assert_eq!(identity_hash("abc"), "ba7816bf8f01cfea414140de5dae2223");
    }

    #[test]
    fn a_hashed_host_name_is_as_valid_as_the_host_name() {
        let hidden = |text: &str| host_name("/etc/hostname", text);
        assert_eq!(hidden("abc\n"), "host-ba7816bf\n");
        assert_eq!(hidden("# edge\nabc\n"), "host-ba7816bf\n");
        assert!(hidden("my_pi\n").starts_with("host_"), "{}", hidden("my_pi\n"));
        assert_eq!(hidden("localhost.localdomain\n"), "localhost.localdomain\n");
        assert_eq!(hidden("# edge\n"), "\n");
    }
}
