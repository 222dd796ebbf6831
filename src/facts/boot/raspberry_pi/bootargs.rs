//! The kernel arguments that a flattened device tree carries: `bootargs` in `/chosen` (Devicetree
//! Specification, 5, "Flattened Devicetree (DTB) Format").

const MAGIC: u32 = 0xd00d_feed;
const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROP: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;

/// The text of `bootargs`; empty where the tree has none, `None` where this is no device tree.
pub(super) fn of(tree: &[u8]) -> Option<String> {
    if word(tree, 0)? != MAGIC {
        return None;
    }
    let mut at = word(tree, 8)? as usize;
    let strings = tree.get(word(tree, 12)? as usize..)?;
    let mut depth = 0u32;
    let mut in_chosen = false;
    // Each step takes four bytes at least, so that this ends with the tree.
    loop {
        let token = word(tree, at)?;
        at = at.checked_add(4)?;
        match token {
            BEGIN_NODE => {
                let name = text(tree.get(at..)?)?;
                depth = depth.checked_add(1)?;
                in_chosen = in_chosen || depth == 2 && matches!(name, b"chosen" | b"chosen@0");
                at = aligned(at.checked_add(name.len() + 1)?)?;
            }
            END_NODE => {
                if in_chosen && depth == 2 {
                    return Some(String::new());
                }
                depth = depth.checked_sub(1)?;
            }
            PROP => {
                let length = word(tree, at)? as usize;
                let name = strings.get(word(tree, at.checked_add(4)?)? as usize..)?;
                let start = at.checked_add(8)?;
                let end = start.checked_add(length)?;
                let value = tree.get(start..end)?;
                if in_chosen && depth == 2 && name.starts_with(b"bootargs\0") {
                    let value = value.split(|&byte| byte == 0).next().unwrap_or_default();
                    return Some(String::from_utf8_lossy(value).into_owned());
                }
                at = aligned(end)?;
            }
            NOP => {}
            END if depth == 0 => return Some(String::new()),
            _ => return None,
        }
    }
}

fn word(tree: &[u8], at: usize) -> Option<u32> {
    let bytes = tree.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// What stands before the first NUL.
fn text(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(..bytes.iter().position(|&byte| byte == 0)?)
}

fn aligned(at: usize) -> Option<usize> {
    at.checked_next_multiple_of(4)
}

/// A device tree with these nodes below its root, each with one property.
#[cfg(test)]
pub(crate) fn tree(nodes: &[(&str, &str, &str)]) -> Vec<u8> {
    let mut names = Vec::<u8>::new();
    let mut body = Vec::<u8>::new();
    let mut put = |word: u32, more: &[u8]| {
        body.extend(word.to_be_bytes());
        body.extend(more);
        body.resize(body.len().next_multiple_of(4), 0);
    };
    put(BEGIN_NODE, b"\0");
    for (node, name, value) in nodes {
        put(BEGIN_NODE, format!("{node}\0").as_bytes());
        let length = u32::try_from(value.len() + 1).unwrap();
        let mut property = length.to_be_bytes().to_vec();
        property.extend(u32::try_from(names.len()).unwrap().to_be_bytes());
        property.extend(format!("{value}\0").as_bytes());
        put(PROP, &property);
        names.extend(format!("{name}\0").as_bytes());
        put(NOP, b"");
        put(END_NODE, b"");
    }
    put(END_NODE, b"");
    put(END, b"");
    let strings = 40 + u32::try_from(body.len()).unwrap();
    let total = strings + u32::try_from(names.len()).unwrap();
    let header =
        [MAGIC, total, 40, strings, 40, 17, 16, 0, u32::try_from(names.len()).unwrap(), strings - 40];
    let mut out: Vec<u8> = header.iter().flat_map(|word| word.to_be_bytes()).collect();
    out.extend(body);
    out.extend(names);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bootargs_of_the_chosen_node() {
        let words = "coherent_pool=1M 8250.nr_uarts=1 cgroup_disable=memory";
        let with = tree(&[("aliases", "serial0", "/soc/serial"), ("chosen", "bootargs", words)]);
        assert_eq!(of(&with).as_deref(), Some(words));
        let upstream = tree(&[("chosen", "stdout-path", "serial1:115200n8")]);
        assert_eq!(of(&upstream).as_deref(), Some(""));
        assert_eq!(of(&tree(&[("soc", "bootargs", "x")])).as_deref(), Some(""));
        assert_eq!(of(&with[..60]), None);
        assert_eq!(of(b"junk"), None);
        assert_eq!(of(b""), None);
    }

    proptest! {
        #[test]
        fn hostile_bytes_do_no_harm(
            at in 0usize..200, byte in any::<u8>(), end in 0usize..200,
            junk in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let mut bytes = tree(&[("chosen", "bootargs", "cgroup_disable=memory"), ("soc", "x", "y")]);
            if let Some(there) = bytes.get_mut(at) {
                *there = byte;
            }
            let _ = of(&bytes);
            bytes.truncate(end);
            let _ = of(&bytes);
            let _ = of(&junk);
            let mut headed = MAGIC.to_be_bytes().to_vec();
            headed.extend(junk);
            let _ = of(&headed);
        }
    }
}
