//! A VXLAN interface in a network namespace of its own: nothing of it outlives the process.

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use std::os::fd::AsRawFd;

use crate::probes::request::{Failure, Step};

/// `NLMSG_ERROR`, which a success is, too; `RTM_NEWLINK` (`include/uapi/linux/netlink.h`, `rtnetlink.h`).
const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
/// `NLM_F_REQUEST`, `NLM_F_ACK`, `NLM_F_EXCL` and `NLM_F_CREATE`.
const FLAGS: u16 = 0x001 | 0x004 | 0x200 | 0x400;
/// `IFLA_IFNAME`, and `IFLA_LINKINFO` with what is in it (`include/uapi/linux/if_link.h`).
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_VXLAN_ID: u16 = 1;
const IFLA_VXLAN_PORT: u16 = 15;
/// The lengths of `struct nlmsghdr` and of `struct ifinfomsg`.
const HEADER_BYTES: usize = 16;
const IFINFOMSG_BYTES: usize = 16;
/// That of flannel (flannel: `pkg/backend/vxlan/vxlan.go`, `defaultVNI`; Linux's default port).
const PORT: u16 = 8472;

/// As flannel's interface, but down and to nowhere.
pub(super) fn add_vxlan() -> Result<(), Failure> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| Step::NetworkNamespace.failed(errno))?;
    added().map_err(|errno| Step::Vxlan.failed(errno))
}

fn added() -> nix::Result<()> {
    let kernel = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        Some(SockProtocol::NetlinkRoute),
    )?;
    // What is sent to no address goes to the kernel, which has answered when the call returns.
    send(kernel.as_raw_fd(), &request(), MsgFlags::empty())?;
    let mut answer = [0; 4096];
    let count = recv(kernel.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT)?;
    outcome(answer.get(..count).unwrap_or_default())
}

fn request() -> Vec<u8> {
    let mut data = attribute(IFLA_VXLAN_ID, &1_u32.to_ne_bytes());
    data.extend(attribute(IFLA_VXLAN_PORT, &PORT.to_be_bytes()));
    let mut info = attribute(IFLA_INFO_KIND, b"vxlan");
    info.extend(attribute(IFLA_INFO_DATA, &data));
    let mut body = vec![0; IFINFOMSG_BYTES];
    body.extend(attribute(IFLA_IFNAME, b"edgeprep0\0"));
    body.extend(attribute(IFLA_LINKINFO, &info));
    let length = u32::try_from(HEADER_BYTES + body.len()).unwrap_or(u32::MAX);
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(FLAGS.to_ne_bytes());
    // The number of the message, and the kernel as who it is from.
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// `struct nlattr`, its value, and padding to four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut all = u16::try_from(4 + value.len()).unwrap_or(u16::MAX).to_ne_bytes().to_vec();
    all.extend(kind.to_ne_bytes());
    all.extend(value);
    all.resize(all.len().next_multiple_of(4), 0);
    all
}

/// What the kernel answers: `struct nlmsghdr` and, in `struct nlmsgerr`, 0 or a negative error.
fn outcome(answer: &[u8]) -> nix::Result<()> {
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    let error = answer.get(HEADER_BYTES..HEADER_BYTES + 4).and_then(|bytes| bytes.try_into().ok());
    match (kind, error.map(i32::from_ne_bytes)) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(error)) => Err(Errno::from_raw(error.checked_neg().unwrap_or(0))),
        _ => Err(Errno::EBADMSG),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(bytes: &[u8], at: usize) -> u16 {
        u16::from_ne_bytes(bytes[at..at + 2].try_into().unwrap())
    }

    #[test]
    fn the_message_is_laid_out_as_the_kernel_reads_it() {
        let message = request();
        assert_eq!(u32::from_ne_bytes(message[..4].try_into().unwrap()) as usize, message.len());
        assert_eq!((short(&message, 4), short(&message, 6)), (16, 0x605));
        // "edgeprep0" with its end is 10 bytes, 12 with padding; its attribute says 14.
        let name = HEADER_BYTES + IFINFOMSG_BYTES;
        assert_eq!((short(&message, name), short(&message, name + 2)), (14, 3));
        let info = name + 16;
        assert_eq!((short(&message, info) as usize, short(&message, info + 2)), (message.len() - info, 18));
        assert_eq!(&message[info + 8..info + 13], b"vxlan");
        let data = info + 16;
        assert_eq!((short(&message, data) as usize, short(&message, data + 2)), (message.len() - data, 2));
        assert_eq!(message[data + 16..data + 18], 8472_u16.to_be_bytes());
        assert_eq!(message.len() % 4, 0);
    }

    #[test]
    fn answers_are_told_apart() {
        let answer = |kind: u16, error: i32| {
            let mut bytes = vec![0; 20];
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            bytes[16..].copy_from_slice(&error.to_ne_bytes());
            bytes
        };
        assert_eq!(outcome(&answer(2, 0)), Ok(()));
        assert_eq!(outcome(&answer(2, -95)), Err(Errno::EOPNOTSUPP));
        assert_eq!(outcome(&answer(16, 0)), Err(Errno::EBADMSG));
        assert_eq!(outcome(&answer(2, i32::MIN)), Err(Errno::from_raw(0)));
        assert_eq!(outcome(&answer(2, 0)[..19]), Err(Errno::EBADMSG));
        assert_eq!(outcome(&[]), Err(Errno::EBADMSG));
    }
}
