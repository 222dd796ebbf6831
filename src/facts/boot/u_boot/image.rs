//! `boot.scr`: a script of U-Boot in a legacy image (`struct legacy_img_hdr` in `include/image.h`, and
//! `cmd/source.c`).

use std::rc::Rc;

use crate::facts::{Facts, Source};
use crate::host::{Fact, OrAbsent, Unread};

/// More than any script has, in bytes.
const LIMIT_BYTES: u64 = 1 << 20;
const MAGIC: u32 = 0x2705_1956;
const HEADER_BYTES: usize = 64;
const SIZE_AT: usize = 12;
const ARCH_AT: usize = 29;
const TYPE_AT: usize = 30;
const COMPRESSION_AT: usize = 31;
const TYPE_SCRIPT: u8 = 6;

/// A script, as U-Boot runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::facts::boot) struct Script {
    /// Its text; line 1 is the first behind the header.
    pub(in crate::facts::boot) source: Source,
    /// What `mkimage -A` is to be told to make the same header; `None` for one of no board.
    pub(in crate::facts::boot) arch: Option<&'static str>,
}

impl Facts {
    /// The script in an image; `None` where there is none.
    ///
    /// # Errors
    /// Where it cannot be read, or is no script.
    pub(in crate::facts::boot) fn u_boot_script(&self, path: &str) -> Fact<Rc<Option<Script>>> {
        self.memo_fact(path, || {
            let Some(bytes) = self.bytes(path, LIMIT_BYTES).or_absent()? else { return Ok(None) };
            let malformed = |expected: &str| Unread::Malformed {
                path: path.to_owned(),
                line: None,
                expected: expected.to_owned(),
            };
            decode(path, &bytes).map(Some).map_err(malformed)
        })
    }
}

fn decode(path: &str, bytes: &[u8]) -> Result<Script, &'static str> {
    let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
    if word(bytes, 0) != Some(MAGIC) || byte(TYPE_AT) != TYPE_SCRIPT || byte(COMPRESSION_AT) != 0 {
        return Err("it is no script of U-Boot in a legacy image");
    }
    let size = word(bytes, SIZE_AT).and_then(|size| usize::try_from(size).ok());
    let size = size.ok_or("its header is cut off")?;
    let data = bytes.get(HEADER_BYTES..).and_then(|rest| rest.get(..size)).ok_or("it is cut off")?;
    let first = word(data, 0).and_then(|length| usize::try_from(length).ok()).ok_or("it is cut off")?;
    let lengths = data.chunks_exact(4).take_while(|chunk| chunk.iter().any(|&byte| byte != 0)).count();
    let text = data.get((lengths + 1) * 4..).and_then(|rest| rest.get(..first)).ok_or("it is cut off")?;
    let arch = match byte(ARCH_AT) {
        2 => Some("arm"),
        22 => Some("arm64"),
        26 => Some("riscv"),
        _ => None,
    };
    let text = String::from_utf8_lossy(text);
    Ok(Script { source: Source::new(path, text), arch })
}

/// A big-endian number of 32 bits.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*four))
}

/// What `mkimage -A ARCH -O linux -T script -C none -d` makes of a text, without checksums.
#[cfg(test)]
pub(in crate::facts::boot) fn mkimage(arch: u8, text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap();
    let mut image = vec![0; HEADER_BYTES];
    image[..4].copy_from_slice(&MAGIC.to_be_bytes());
    image[SIZE_AT..SIZE_AT + 4].copy_from_slice(&(length + 8).to_be_bytes());
    image[28..32].copy_from_slice(&[5, arch, TYPE_SCRIPT, 0]);
    image.extend(length.to_be_bytes());
    image.extend([0; 4]);
    image.extend(text.as_bytes());
    image
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_text_stands_behind_two_headers() {
        let image = mkimage(22, "setenv bootargs rw\n");
        let script = decode("/boot/boot.scr", &image).unwrap();
        assert_eq!((script.source.text(), script.arch), ("setenv bootargs rw\n", Some("arm64")));
        assert!(decode("", &image[..image.len() - 1]).is_err());
        let mut kernel = image;
        kernel[TYPE_AT] = 2;
        assert!(decode("", &kernel).is_err());
        assert!(decode("", b"setenv bootargs rw\n").is_err());
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_refused(
            mut image in proptest::collection::vec(any::<u8>(), 0..200),
            is_script in any::<bool>(),
        ) {
            if is_script {
                for (at, byte) in mkimage(2, "").into_iter().enumerate().take(image.len()) {
                    if !(SIZE_AT..SIZE_AT + 4).contains(&at) && at < HEADER_BYTES {
                        image[at] = byte;
                    }
                }
            }
            let _ = decode("", &image);
        }
    }
}
